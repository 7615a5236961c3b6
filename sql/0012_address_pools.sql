-- Address pools: ranges, the rules that assign pools, leases and framed routes.
-- An address is in one tenant's one VRF only once: pools, leases and routes are kept apart by exclusion constraints, which need no contrib
-- extension, for gist knows ranges; a scope (tenant and VRF as a number) takes part as a range of one.

alter table nas add column vrf text check (length(vrf) between 1 and 64);                   -- the routing table in which its subscribers' addresses are; null: the global one

create type inetrange as range (subtype = inet);

-- A prefix as a range of numbers: of addresses for IPv4, of /64s for IPv6 (its upper half). Indexes are over this: gist's class for inet, and ranges of inet,
-- get slower with every row (measured: ten times at 40,000), for they cannot tell how far apart two addresses are; that for int8range can.
create function netd_upper_half(address inet) returns bigint language sql immutable parallel safe return
    ('x' || encode(substring(inet_send(address) from 5 for 8), 'hex'))::bit(64)::bigint;
create function netd_span(prefix inet) returns int8range language sql immutable parallel safe return
    case family(prefix)
        when 4 then int8range(host(network(prefix))::inet - '0.0.0.0'::inet, host(broadcast(prefix))::inet - '0.0.0.0'::inet, '[]')
        else int8range(netd_upper_half(network(prefix)::inet), netd_upper_half(broadcast(prefix)), '[]') end;

create table pools (
    id            bigint generated always as identity primary key,
    tenant_id     bigint not null references tenants,
    name          text not null check (length(name) between 1 and 64),
    kind          text not null check (kind in ('ipv4', 'ipv6', 'delegated')),  -- Framed-IP-Address, Framed-IPv6-Prefix, Delegated-IPv6-Prefix
    prefix_length smallint not null,                                           -- of what one subscriber gets
    vrf           text check (length(vrf) between 1 and 64),
    gateway       inet,                                                        -- never given out
    grace_seconds integer not null default 300 check (grace_seconds between 0 and 2592000),  -- for which nobody else gets it after a session's end
    description   text,
    scope         bigint not null generated always as (hashtextextended(coalesce(vrf, ''), tenant_id) >> 1) stored,
    version       integer not null default 1,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    check (case kind when 'ipv4' then prefix_length = 32 else prefix_length between 16 and 64 end),
    unique (tenant_id, id),
    unique (tenant_id, id, kind)
);
create unique index pools_name on pools (tenant_id, lower(name));

-- First and last address (without prefix length), both included.
create table pool_ranges (
    id            bigint generated always as identity primary key,
    tenant_id     bigint not null references tenants,
    pool_id       bigint not null,
    scope         bigint not null,
    first_address inet not null,
    last_address  inet not null check (last_address >= first_address and family(last_address) = family(first_address)),
    foreign key (tenant_id, pool_id) references pools (tenant_id, id) on delete cascade,
    constraint pool_ranges_overlap exclude using gist (inetrange(first_address, last_address, '[]') with &&, int8range(scope, scope, '[]') with &&)
);
create index pool_ranges_pool on pool_ranges (pool_id);

create table pool_exclusions (
    id            bigint generated always as identity primary key,
    tenant_id     bigint not null references tenants,
    pool_id       bigint not null,
    first_address inet not null,
    last_address  inet not null check (last_address >= first_address and family(last_address) = family(first_address)),
    foreign key (tenant_id, pool_id) references pools (tenant_id, id) on delete cascade
);
create index pool_exclusions_pool on pool_exclusions (pool_id);

-- Where addresses that were never leased are to be looked for. A hint only: what is found there is checked against leases, fixed addresses and exclusions.
create table pool_spans (
    id            bigint generated always as identity primary key,
    tenant_id     bigint not null references tenants,
    pool_id       bigint not null references pools on delete cascade,
    first_address inet not null,
    last_address  inet not null
);
create index pool_spans_pool on pool_spans (pool_id, id);

-- Which pool a log-in is served from: every condition that is not null must hold, and the most specific rule wins (netd.radius.pools).
create table pool_rules (
    id         bigint generated always as identity primary key,
    tenant_id  bigint not null references tenants,
    pool_id    bigint not null,
    kind       text not null,
    plan_id    bigint,
    nas_id     bigint,
    site_id    bigint,
    vrf        text check (length(vrf) between 1 and 64),
    created_at timestamptz not null default now(),
    foreign key (tenant_id, pool_id, kind) references pools (tenant_id, id, kind) on delete cascade,
    foreign key (tenant_id, plan_id) references plans (tenant_id, id) on delete cascade,
    foreign key (tenant_id, nas_id) references nas (tenant_id, id) on delete cascade,
    foreign key (tenant_id, site_id) references sites (tenant_id, id) on delete cascade
);
create unique index pool_rules_condition on pool_rules (tenant_id, kind, plan_id, nas_id, site_id, vrf) nulls not distinct;
create index pool_rules_pool on pool_rules (pool_id);

-- What was ever leased and to whom last. until_at: infinity while a session has it; then the end of the grace time, after which another may get it.
create table leases (
    id            bigint generated always as identity primary key,
    tenant_id     bigint not null,                                             -- the pool's: each foreign key less is a tenth of an insert
    pool_id       bigint not null,
    kind          text not null,
    scope         bigint not null,
    prefix        inet not null,                                               -- an address, or a prefix of the pool's length
    subscriber_id bigint,                                                      -- holder; kept after the end, so that it gets the same again
    device_id     bigint,                                                      -- holder, where it is a device
    slot          smallint not null default 0,                                 -- the holder's first, second … session at a time
    client_id     text not null default '',                                    -- from where: Calling-Station-Id, else port; a DHCP client identifier
    token         text not null default '',                                    -- the grant that has it, as in Class
    leased_at     timestamptz not null default now(),                          -- to this holder
    ended_at      timestamptz,                                                 -- of the last session; null while one has it or is about to begin
    until_at      timestamptz not null,
    conflict      text,                                                        -- what the NAS used instead
    conflict_at   timestamptz,
    check (num_nonnulls(subscriber_id, device_id) <= 1),
    foreign key (tenant_id, pool_id, kind) references pools (tenant_id, id, kind),
    foreign key (tenant_id, subscriber_id) references subscribers (tenant_id, id) on delete set null (subscriber_id),
    foreign key (tenant_id, device_id) references devices (tenant_id, id) on delete set null (device_id),
    -- The address first: with the scope, of which there are few, in front the index would be as good as unsorted.
    constraint leases_overlap exclude using gist (netd_span(prefix) with &&, int8range(scope, scope, '[]') with &&)
) with (fillfactor = 80);
create unique index leases_subscriber on leases (subscriber_id, kind, slot) where subscriber_id is not null;
create index leases_device on leases (device_id) where device_id is not null;
create index leases_pool on leases (pool_id, id);
create index leases_reuse on leases (pool_id, until_at) where until_at < 'infinity';

create table framed_routes (
    id            bigint generated always as identity primary key,
    tenant_id     bigint not null references tenants,
    subscriber_id bigint not null,
    prefix        cidr not null,
    gateway       inet,                                                        -- null: the subscriber's own address
    metric        integer not null default 1 check (metric between 0 and 65535),
    created_at    timestamptz not null default now(),
    foreign key (tenant_id, subscriber_id) references subscribers (tenant_id, id) on delete cascade,
    constraint framed_routes_overlap exclude using gist (netd_span(prefix::inet) with &&, int8range(tenant_id, tenant_id, '[]') with &&)
);
create index framed_routes_subscriber on framed_routes (subscriber_id);

-- Fixed IPv6 prefixes are compared by overlap, not only by equality.
create index subscribers_ipv6_prefix_overlap on subscribers using gist (netd_span(ipv6_prefix::inet)) where ipv6_prefix is not null;
create index subscribers_delegated_overlap on subscribers using gist (netd_span(delegated_ipv6_prefix::inet)) where delegated_ipv6_prefix is not null;

-- What subscribers fix for themselves (addresses, routes) and what is leased keep out of each other's way. The pools' rows are the lock: whoever leases
-- holds them too, so of two transactions one sees what the other did.
create function netd_fix(tenants bigint[], holders bigint[], members text[], prefixes inet[]) returns void
    language plpgsql set enable_seqscan = off as $$                            -- a plan made while leases was empty must not be kept for when it is not
declare
    clash record;
begin
    if prefixes is null then
        return;
    end if;
    perform 1 from pools where tenant_id = any(tenants) order by id for no key update;
    if not found then
        return;
    end if;
    select l.prefix, u.m as member into clash
    from unnest(tenants, holders, members, prefixes) as u (t, h, m, p) join leases l on l.tenant_id = u.t and netd_span(l.prefix) && netd_span(u.p)
    where l.subscriber_id is distinct from u.h and l.until_at > now() and num_nonnulls(l.subscriber_id, l.device_id) = 1 limit 1;
    if found then
        raise exception '% is leased to another', clash.prefix using errcode = 'exclusion_violation', table = 'leases', constraint = 'leases_fixed_' || clash.member;
    end if;
    delete from leases l using unnest(tenants, prefixes) as u (t, p) where l.tenant_id = u.t and netd_span(l.prefix) && netd_span(u.p);
end $$;

create function netd_unfix(tenants bigint[], prefixes inet[]) returns void language sql as $$
    insert into pool_spans (tenant_id, pool_id, first_address, last_address)
    select r.tenant_id, r.pool_id, greatest(r.first_address, u.low), least(r.last_address, u.high)
    from (select t, set_masklen(network(p)::inet, m) as low, set_masklen(broadcast(p), m) as high
          from unnest(tenants, prefixes) as v (t, p) cross join lateral (select case family(p) when 4 then 32 else 128 end as m) x) u
    join pool_ranges r on r.tenant_id = u.t and inetrange(r.first_address, r.last_address, '[]') && inetrange(u.low, u.high, '[]')
$$;

create function netd_subscriber_fixed() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        perform netd_fix(array_agg(tenant_id), array_agg(id), array_agg(m), array_agg(p))
        from new_rows cross join lateral (values ('ipv4', ipv4), ('ipv6_prefix', ipv6_prefix), ('delegated_ipv6_prefix', delegated_ipv6_prefix)) v (m, p)
        where p is not null and state <> 'terminated';
    elsif tg_op = 'DELETE' then
        perform netd_unfix(array_agg(tenant_id), array_agg(p))
        from old_rows cross join lateral (values (ipv4), (ipv6_prefix), (delegated_ipv6_prefix)) v (p) where p is not null and state <> 'terminated';
    else
        perform netd_fix(array_agg(tenant_id), array_agg(id), array_agg(m), array_agg(p)) from (
            select tenant_id, id, m, p
            from new_rows cross join lateral (values ('ipv4', ipv4), ('ipv6_prefix', ipv6_prefix), ('delegated_ipv6_prefix', delegated_ipv6_prefix)) v (m, p)
            where p is not null and state <> 'terminated'
            except select tenant_id, id, m, p
            from old_rows cross join lateral (values ('ipv4', ipv4), ('ipv6_prefix', ipv6_prefix), ('delegated_ipv6_prefix', delegated_ipv6_prefix)) v (m, p)
            where p is not null and state <> 'terminated') gained;
        perform netd_unfix(array_agg(tenant_id), array_agg(p)) from (
            select tenant_id, p from old_rows cross join lateral (values (ipv4), (ipv6_prefix), (delegated_ipv6_prefix)) v (p)
            where p is not null and state <> 'terminated'
            except select tenant_id, p from new_rows cross join lateral (values (ipv4), (ipv6_prefix), (delegated_ipv6_prefix)) v (p)
            where p is not null and state <> 'terminated') lost;
    end if;
    return null;
end $$;
create trigger fixed_i after insert on subscribers referencing new table as new_rows for each statement execute function netd_subscriber_fixed();
create trigger fixed_u after update on subscribers referencing old table as old_rows new table as new_rows
    for each statement execute function netd_subscriber_fixed();
create trigger fixed_d after delete on subscribers referencing old table as old_rows for each statement execute function netd_subscriber_fixed();

create function netd_route_fixed() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        perform netd_fix(array_agg(tenant_id), array_agg(subscriber_id), array_agg('route'::text), array_agg(prefix::inet)) from new_rows;
    else
        perform netd_unfix(array_agg(tenant_id), array_agg(prefix::inet)) from old_rows;
    end if;
    return null;
end $$;
create trigger fixed_i after insert on framed_routes referencing new table as new_rows for each statement execute function netd_route_fixed();
create trigger fixed_d after delete on framed_routes referencing old table as old_rows for each statement execute function netd_route_fixed();

-- Whoever fixes an address, all leases of the tenant count, whatever the caller may see of them.
alter function netd_fix(bigint[], bigint[], text[], inet[]) security definer set search_path from current;
alter function netd_unfix(bigint[], inet[]) security definer set search_path from current;

-- A lease that its holder lost: every node must forget that it knew of it. The entity's id is the former holder's.
create function netd_lease_lost() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        insert into changes (tenant_id, entity, entity_id) select distinct tenant_id, 'lease', subscriber_id from old_rows where subscriber_id is not null;
    else
        insert into changes (tenant_id, entity, entity_id)
        select distinct o.tenant_id, 'lease', o.subscriber_id from old_rows o join new_rows n on n.id = o.id
        where o.subscriber_id is not null and n.subscriber_id is distinct from o.subscriber_id;
    end if;
    if found then
        perform pg_notify('netd_changes', '');
    end if;
    return null;
end $$;
alter function netd_lease_lost() security definer set search_path from current;  -- it writes for the engine, like netd_changed
create trigger lost_u after update on leases referencing old table as old_rows new table as new_rows for each statement execute function netd_lease_lost();
create trigger lost_d after delete on leases referencing old table as old_rows for each statement execute function netd_lease_lost();

do $$
declare
    t record;
begin
    for t in select * from (values
        ('pools', 'pool', 'id'), ('pool_ranges', 'pool', 'pool_id'), ('pool_exclusions', 'pool', 'pool_id'), ('pool_rules', 'pool', 'pool_id'),
        ('framed_routes', 'subscriber', 'subscriber_id')
    ) as v (tab, entity, col) loop
        execute format('create trigger changed_i after insert on %I referencing new table as new_rows for each statement execute function netd_changed(%L, %L)', t.tab, t.entity, t.col);
        execute format('create trigger changed_u after update on %I referencing new table as new_rows for each statement execute function netd_changed(%L, %L)', t.tab, t.entity, t.col);
        execute format('create trigger changed_d after delete on %I referencing old table as old_rows for each statement execute function netd_changed(%L, %L)', t.tab, t.entity, t.col);
    end loop;
end $$;
do $$
declare
    t text;
begin
    foreach t in array array['pools', 'pool_ranges', 'pool_exclusions', 'pool_spans', 'pool_rules', 'leases', 'framed_routes'] loop
        execute format('grant select, insert, update, delete on %I to netd_tenant', t);
        execute format('alter table %I enable row level security', t);
        execute format('create policy tenant on %I to netd_tenant using (tenant_id = (select netd_scope_tenant()))', t);
    end loop;
    -- A pool is the whole tenant's: everybody sees it, who may in the whole tenant changes it.
    foreach t in array array['pools', 'pool_ranges', 'pool_exclusions', 'pool_spans', 'pool_rules'] loop
        execute format('create policy whole_i on %I as restrictive for insert to netd_tenant with check ((select netd_scope_whole()))', t);
        execute format('create policy whole_u on %I as restrictive for update to netd_tenant using ((select netd_scope_whole()))', t);
        execute format('create policy whole_d on %I as restrictive for delete to netd_tenant using ((select netd_scope_whole()))', t);
    end loop;
    foreach t in array array['leases', 'framed_routes'] loop
        execute format($f$create policy site on %I as restrictive to netd_tenant
            using ((select netd_scope_whole()) or exists (select from subscribers s where s.id = subscriber_id))$f$, t);
    end loop;
end $$;
