-- DHCP: the subnets that are served, addresses set aside for known clients, and leases of DHCP clients beside those of subscribers.
-- DHCPv4 addresses and delegated prefixes come from the same pools as RADIUS's, so the exclusion constraint on leases stands behind both.

-- A link whose clients are answered. Which link a client is on is told by giaddr, RFC 3527's link selection, or DHCPv6's link-address: so prefixes of
-- all tenants are kept apart.
create table dhcp_subnets (
    id            bigint generated always as identity primary key,
    tenant_id     bigint not null references tenants,
    name          text not null check (length(name) between 1 and 64),
    prefix        cidr not null,
    site_id       bigint,
    serves        text not null default 'expected' check (serves in ('expected', 'classes')),  -- devices that somebody expects; or any client of profiles
    profiles      text[] not null default '{}',                                -- which boot profiles are answered in here; none: nobody is
    pool_id       bigint,                                                      -- IPv4 addresses, or DHCPv6's delegated prefixes; null: none are leased
    router        inet,
    dns_servers   inet[] not null default '{}',
    ntp_servers   inet[] not null default '{}',
    domain        text check (length(domain) between 1 and 253),
    lease_seconds integer not null default 3600 check (lease_seconds between 60 and 31536000),
    variables     jsonb not null default '{}',                                 -- for the profiles' templates; no secrets
    interface     text check (length(interface) between 1 and 15),             -- where its clients are attached directly; null: through relays only
    enabled       boolean not null default true,
    description   text,
    version       integer not null default 1,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    unique (tenant_id, id),
    foreign key (tenant_id, site_id) references sites (tenant_id, id),
    constraint dhcp_subnets_pool foreign key (tenant_id, pool_id) references pools (tenant_id, id),
    constraint dhcp_subnets_overlap4 exclude using gist (netd_span(prefix::inet) with &&) where (family(prefix) = 4),
    constraint dhcp_subnets_overlap6 exclude using gist (netd_span(prefix::inet) with &&) where (family(prefix) = 6)
);
create unique index dhcp_subnets_name on dhcp_subnets (tenant_id, lower(name));

-- An address that one client gets and nobody else: found by its MAC address, client identifier (hex), a pattern for what the relay says of the line, or the
-- serial number that its profile reads.
create table dhcp_reservations (
    id          bigint generated always as identity primary key,
    tenant_id   bigint not null references tenants,
    subnet_id   bigint not null,
    kind        text not null check (kind in ('mac', 'client_id', 'circuit_id', 'remote_id', 'serial')),
    value       text not null check (length(value) between 1 and 512),
    address     inet not null check (masklen(address) = case family(address) when 4 then 32 else 128 end),
    description text,
    created_at  timestamptz not null default now(),
    unique (tenant_id, id),
    constraint dhcp_reservations_address unique (subnet_id, address),
    constraint dhcp_reservations_value unique (subnet_id, kind, value),
    foreign key (tenant_id, subnet_id) references dhcp_subnets (tenant_id, id) on delete cascade
);
create index dhcp_reservations_span on dhcp_reservations using gist (netd_span(address));

-- A lease of a DHCP client: client_id says whose. until_at is the end of what it was told and the pool's grace time.
alter table leases
    add column dhcp_subnet_id bigint,
    add column dhcp_state     text check (dhcp_state in ('offered', 'bound', 'released', 'declined')),
    add column expires_at     timestamptz,                                     -- the end of what the client was told
    add column mac            text,
    add column profile        text,
    add column hostname       text,
    add column relay_info     bytea,                                           -- option 82 as the relay sent it: a renewal by unicast has none
    add constraint leases_dhcp check ((dhcp_subnet_id is null) = (dhcp_state is null));
create unique index leases_client on leases (dhcp_subnet_id, client_id) where dhcp_subnet_id is not null;
create index leases_mac on leases (mac) where mac is not null;

-- Single IPv6 addresses (IA_NA): made from the client's identity within the subnet, so they need no pool. client_id is the DUID and the IAID, in hex.
create table dhcp_addresses (
    id         bigint generated always as identity primary key,
    tenant_id  bigint not null,
    subnet_id  bigint not null,
    address    inet not null,
    client_id  text not null,
    mac        text,
    profile    text not null,
    until_at   timestamptz not null,
    declined   boolean not null default false,
    leased_at  timestamptz not null default now(),
    constraint dhcp_addresses_overlap unique (subnet_id, address),
    constraint dhcp_addresses_client unique (subnet_id, client_id),
    foreign key (tenant_id, subnet_id) references dhcp_subnets (tenant_id, id) on delete cascade
);

-- Who fixes an address must know of DHCP's leases, too: as in 0012, with their holders.
create or replace function netd_fix(tenants bigint[], holders bigint[], members text[], prefixes inet[]) returns void
    language plpgsql security definer set search_path from current set enable_seqscan = off as $$
declare
    clash record;
begin
    if prefixes is null then
        return;
    end if;
    perform 1 from pools where tenant_id = any(tenants) order by id for no key update;
    select r.address as prefix, u.m as member into clash
    from unnest(tenants, members, prefixes) as u (t, m, p) join dhcp_reservations r on r.tenant_id = u.t and netd_span(r.address) && netd_span(u.p)
        and family(r.address) = family(u.p) limit 1;
    if found then
        raise exception '% is reserved for a DHCP client', clash.prefix
            using errcode = 'exclusion_violation', table = 'leases', constraint = 'leases_fixed_' || clash.member;
    end if;
    select l.prefix, u.m as member into clash
    from unnest(tenants, holders, members, prefixes) as u (t, h, m, p) join leases l on l.tenant_id = u.t and netd_span(l.prefix) && netd_span(u.p)
    where l.until_at > now() and (l.dhcp_subnet_id is not null or (l.subscriber_id is distinct from u.h and num_nonnulls(l.subscriber_id, l.device_id) = 1))
    limit 1;
    if found then
        raise exception '% is leased to another', clash.prefix using errcode = 'exclusion_violation', table = 'leases', constraint = 'leases_fixed_' || clash.member;
    end if;
    delete from leases l using unnest(tenants, prefixes) as u (t, p) where l.tenant_id = u.t and netd_span(l.prefix) && netd_span(u.p);
end $$;

-- A reservation takes its address out of the pools. A DHCP client that has it keeps it until it renews (it may be the very one); a subscriber's stays refused.
create function netd_reservation_fixed() returns trigger language plpgsql security definer set search_path from current as $$
declare
    clash inet;
begin
    if tg_op <> 'INSERT' then
        perform netd_unfix(array_agg(tenant_id), array_agg(address)) from old_rows where family(address) = 4;
    end if;
    if tg_op <> 'DELETE' then
        perform 1 from pools where tenant_id in (select tenant_id from new_rows) order by id for no key update;
        select l.prefix into clash from new_rows n join leases l on l.tenant_id = n.tenant_id and netd_span(l.prefix) && netd_span(n.address)
        where l.dhcp_subnet_id is null and l.until_at > now() and num_nonnulls(l.subscriber_id, l.device_id) = 1 and family(l.prefix) = family(n.address) limit 1;
        if clash is null then
            select s.ipv4 into clash from new_rows n join subscribers s on s.tenant_id = n.tenant_id and s.ipv4 = n.address and s.state <> 'terminated' limit 1;
        end if;
        if clash is not null then
            raise exception '% is leased to another', clash using errcode = 'exclusion_violation', table = 'leases', constraint = 'leases_fixed_address';
        end if;
        delete from leases l using new_rows n where l.tenant_id = n.tenant_id and netd_span(l.prefix) && netd_span(n.address) and l.dhcp_subnet_id is null
            and family(l.prefix) = family(n.address);
    end if;
    return null;
end $$;
create trigger fixed_i after insert on dhcp_reservations referencing new table as new_rows for each statement execute function netd_reservation_fixed();
create trigger fixed_u after update on dhcp_reservations referencing old table as old_rows new table as new_rows
    for each statement execute function netd_reservation_fixed();
create trigger fixed_d after delete on dhcp_reservations referencing old table as old_rows for each statement execute function netd_reservation_fixed();

-- Without its subnet a lease is nobody's; whoever was told of it may use it until it ends.
create function netd_subnet_gone() returns trigger language plpgsql security definer set search_path from current as $$
begin
    update leases l set dhcp_subnet_id = null, dhcp_state = null, client_id = '', ended_at = coalesce(l.ended_at, now())
    from old_rows o where l.dhcp_subnet_id = o.id;
    return null;
end $$;
create trigger gone after delete on dhcp_subnets referencing old table as old_rows for each statement execute function netd_subnet_gone();

do $$
declare
    t record;
begin
    for t in select * from (values ('dhcp_subnets', 'id'), ('dhcp_reservations', 'subnet_id')) as v (tab, col) loop
        execute format('create trigger changed_i after insert on %I referencing new table as new_rows for each statement execute function netd_changed(''dhcp'', %L)', t.tab, t.col);
        execute format('create trigger changed_u after update on %I referencing new table as new_rows for each statement execute function netd_changed(''dhcp'', %L)', t.tab, t.col);
        execute format('create trigger changed_d after delete on %I referencing old table as old_rows for each statement execute function netd_changed(''dhcp'', %L)', t.tab, t.col);
    end loop;
end $$;
do $$
declare
    t text;
begin
    foreach t in array array['dhcp_subnets', 'dhcp_reservations', 'dhcp_addresses'] loop
        execute format('grant select, insert, update, delete on %I to netd_tenant', t);
        execute format('alter table %I enable row level security', t);
        execute format('create policy tenant on %I to netd_tenant using (tenant_id = (select netd_scope_tenant()))', t);
        execute format('create policy whole_i on %I as restrictive for insert to netd_tenant with check ((select netd_scope_whole()))', t);
        execute format('create policy whole_u on %I as restrictive for update to netd_tenant using ((select netd_scope_whole()))', t);
        execute format('create policy whole_d on %I as restrictive for delete to netd_tenant using ((select netd_scope_whole()))', t);
    end loop;
    create policy site on dhcp_subnets as restrictive to netd_tenant using ((select netd_scope_whole()) or site_id = any((select netd_scope_sites())::bigint[]));
    foreach t in array array['dhcp_reservations', 'dhcp_addresses'] loop
        execute format($f$create policy site on %I as restrictive to netd_tenant
            using ((select netd_scope_whole()) or exists (select from dhcp_subnets s where s.id = subnet_id))$f$, t);
    end loop;
end $$;
