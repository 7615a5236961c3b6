-- Devices that boot through netd: who is expected, what each has been told and has fetched, and who came without being expected.

-- An expected device. Of serial, mac and circuit_id all that is given must fit; variables hold no secrets.
create table ztp_devices (
    id              bigint generated always as identity primary key,
    tenant_id       bigint not null references tenants,
    hostname        text not null check (length(hostname) between 1 and 253),
    site_id         bigint,
    serial          text check (length(serial) between 1 and 128),
    mac             text,
    circuit_id      text check (length(circuit_id) between 1 and 512),             -- a regular expression for what the relay says of the line
    profile         text not null,                                                 -- which boot profile it is answered by
    vendor          text not null,
    platform        text,
    role            text check (length(role) between 1 and 64),                    -- whose templates it gets, where it has none of its own
    transport       text not null default 'http' check (transport in ('http', 'https', 'tftp')),
    address         inet,                                                          -- fixed; null: from its subnet's pool
    credential_id   bigint,                                                        -- what opens it once it is configured
    variables       jsonb not null default '{}',
    boot_template   text check (octet_length(boot_template) <= 1048576),           -- of what it fetches
    configuration   text check (octet_length(configuration) <= 1048576),           -- of what it gets over SSH afterwards
    target_version  text check (length(target_version) between 1 and 253),         -- what it should run; it fetches the platform's image of it
    make_nas        boolean not null default false,
    opens_at        timestamptz not null default now(),
    closes_at       timestamptz not null,
    secret          bytea not null,                                                -- sealed: what its tokens and first password are made from
    generation      integer not null default 1,                                    -- of its tokens
    state           text not null default 'expected' check (state in ('expected', 'seen', 'offered', 'fetching', 'configured', 'verified', 'failed')),
    state_at        timestamptz not null default now(),
    configured_at   timestamptz,
    reason          text,                                                          -- why it failed
    address_now     inet,
    seen            jsonb not null default '{}',                                   -- what it last said
    device_id       bigint,                                                        -- its record, made at the latest when it is configured
    rule_id         bigint,                                                        -- that let it in
    version         integer not null default 1,
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now(),
    check (num_nonnulls(serial, mac, circuit_id) > 0),
    check (closes_at > opens_at),
    unique (tenant_id, id),
    constraint ztp_devices_site foreign key (tenant_id, site_id) references sites (tenant_id, id),
    foreign key (tenant_id, credential_id) references credentials (tenant_id, id) on delete set null (credential_id),
    foreign key (tenant_id, device_id) references devices (tenant_id, id) on delete set null (device_id)
);
create unique index ztp_devices_hostname on ztp_devices (tenant_id, lower(hostname));
create unique index ztp_devices_serial on ztp_devices (tenant_id, upper(serial)) where serial is not null;
create unique index ztp_devices_mac on ztp_devices (tenant_id, mac) where mac is not null;
create index ztp_devices_credential on ztp_devices (credential_id) where credential_id is not null;
create index ztp_devices_device on ztp_devices (device_id) where device_id is not null;

-- Its steps, each with when and what shows it.
create table ztp_steps (
    id            bigint generated always as identity primary key,
    tenant_id     bigint not null,
    ztp_device_id bigint not null,
    at            timestamptz not null,
    step          text not null,
    evidence      jsonb not null default '{}',
    foreign key (tenant_id, ztp_device_id) references ztp_devices (tenant_id, id) on delete cascade
);
create index ztp_steps_device on ztp_steps (ztp_device_id, id);
create index ztp_steps_tenant on ztp_steps (tenant_id, id);

-- What a device may fetch, once: a token is kept as its SHA-256, for one address and file.
create table ztp_tokens (
    digest        bytea primary key check (length(digest) = 32),
    tenant_id     bigint not null,
    ztp_device_id bigint not null,
    generation    integer not null,
    purpose       text not null check (purpose in ('boot', 'configuration', 'image')),
    address       inet not null,
    expires_at    timestamptz not null,
    fetches       integer not null default 0,
    first_at      timestamptz,
    done_at       timestamptz,                                                     -- since when its last octet has been sent
    foreign key (tenant_id, ztp_device_id) references ztp_devices (tenant_id, id) on delete cascade
);
create index ztp_tokens_device on ztp_tokens (ztp_device_id);
create index ztp_tokens_expires on ztp_tokens (expires_at);

-- Who came and was not expected, with all that it said.
create table ztp_candidates (
    id            bigint generated always as identity primary key,
    tenant_id     bigint not null references tenants,
    site_id       bigint,
    subnet_id     bigint not null,
    identity      bytea not null check (length(identity) = 32),                    -- a hash of what it is told from others by
    mac           text not null default '',
    serial        text not null default '',
    model         text not null default '',
    profile       text not null default '',
    circuit_id    text not null default '',
    relay         inet,
    said          jsonb not null,
    packets       bigint not null default 1,
    state         text not null default 'new' check (state in ('new', 'adopted', 'ignored')),
    ztp_device_id bigint,
    first_seen_at timestamptz not null,
    last_seen_at  timestamptz not null,
    version       integer not null default 1,
    updated_at    timestamptz not null default now(),
    unique (tenant_id, id),
    unique (tenant_id, identity),
    foreign key (tenant_id, subnet_id) references dhcp_subnets (tenant_id, id) on delete cascade,
    foreign key (tenant_id, ztp_device_id) references ztp_devices (tenant_id, id) on delete set null (ztp_device_id)
);
create index ztp_candidates_subnet on ztp_candidates (subnet_id);
create index ztp_candidates_device on ztp_candidates (ztp_device_id) where ztp_device_id is not null;

-- Which candidates are adopted without anybody asking. Patterns are regular expressions that must fit the whole; null fits all.
create table ztp_rules (
    id            bigint generated always as identity primary key,
    tenant_id     bigint not null references tenants,
    name          text not null check (length(name) between 1 and 64),
    position      integer not null default 100 check (position between 0 and 10000),
    site_id       bigint,                                                          -- where; null: anywhere
    circuit_id    text check (length(circuit_id) between 1 and 512),
    model         text check (length(model) between 1 and 253),
    profiles      text[] not null check (cardinality(profiles) > 0),               -- recognised as one of these
    hostname      text not null check (length(hostname) between 1 and 253),        -- a template: cpe-{serial}
    settings      jsonb not null,                                                  -- of the device that is then expected
    enabled       boolean not null default true,
    version       integer not null default 1,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    unique (tenant_id, id),
    constraint ztp_rules_site foreign key (tenant_id, site_id) references sites (tenant_id, id)
);
create unique index ztp_rules_name on ztp_rules (tenant_id, lower(name));

-- Forward only; what has failed stays so until somebody says otherwise.
create function netd_ztp_place(state text) returns integer language sql immutable as $$
    select array_position(array['expected', 'seen', 'offered', 'fetching', 'configured', 'verified', 'failed'], state)
$$;

do $$
declare
    t record;
begin
    for t in select * from (values ('ztp_devices', 'id'), ('ztp_tokens', 'ztp_device_id')) as v (tab, col) loop
        execute format('create trigger changed_i after insert on %I referencing new table as new_rows for each statement execute function netd_changed(''ztp'', %L)', t.tab, t.col);
        execute format('create trigger changed_u after update on %I referencing new table as new_rows for each statement execute function netd_changed(''ztp'', %L)', t.tab, t.col);
        execute format('create trigger changed_d after delete on %I referencing old table as old_rows for each statement execute function netd_changed(''ztp'', %L)', t.tab, t.col);
    end loop;
end $$;
do $$
declare
    t text;
begin
    foreach t in array array['ztp_devices', 'ztp_steps', 'ztp_tokens', 'ztp_candidates', 'ztp_rules'] loop
        execute format('alter table %I enable row level security', t);
        execute format('create policy tenant on %I to netd_tenant using (tenant_id = (select netd_scope_tenant()))', t);
    end loop;
    grant select, insert, update, delete on ztp_devices, ztp_candidates, ztp_rules to netd_tenant;
    grant select, insert on ztp_steps to netd_tenant;
    grant select, delete on ztp_tokens to netd_tenant;
    foreach t in array array['ztp_devices', 'ztp_candidates', 'ztp_rules'] loop
        execute format($f$create policy site on %I as restrictive to netd_tenant
            using ((select netd_scope_whole()) or site_id = any((select netd_scope_sites())::bigint[]))$f$, t);
    end loop;
    foreach t in array array['ztp_steps', 'ztp_tokens'] loop
        execute format($f$create policy site on %I as restrictive to netd_tenant
            using ((select netd_scope_whole()) or exists (select from ztp_devices d where d.id = ztp_device_id))$f$, t);
    end loop;
end $$;
