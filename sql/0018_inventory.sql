-- What the network consists of: devices, what opens them, and what they say of themselves and of each other. What an operator wrote stands in columns of
-- its own; what was observed stands in `observed`, interfaces, links and endpoints, and never overwrites the other.

-- Named sets of secrets. Those of a device's site are tried before the tenant's own, each in the order of `position`.
alter table credentials
    drop constraint credentials_type_check,
    add constraint credentials_type_check check (type in ('ssh', 'telnet', 'snmp_community', 'snmp_user', 'http')),
    add column username   text check (length(username) between 1 and 253),
    add column settings   jsonb not null default '{}',                              -- what of it is no secret: versions, algorithms
    add column secrets    text[] not null default '{}',                             -- which members encrypted_secret has: a sealed JSON object
    add column port       integer check (port between 1 and 65535),
    add column site_id    bigint,                                                   -- null: for devices anywhere
    add column networks   cidr[] not null default '{}',                             -- is sent to addresses in these only; empty: to any
    add column position   integer not null default 100 check (position between 0 and 10000),
    add column enabled    boolean not null default true,
    add column note       text,
    add column version    integer not null default 1,
    add column updated_at timestamptz not null default now(),
    add constraint credentials_site foreign key (tenant_id, site_id) references sites (tenant_id, id);

alter table devices
    add column platform          text,                                              -- null: what was recognised
    add column kind              text not null default 'other' check (kind in ('router', 'switch', 'olt', 'onu', 'server', 'other')),
    add column state             text not null default 'active' check (state in ('planned', 'active', 'maintenance', 'retired')),
    add column serial            text,
    add column software_version  text,
    add column role              text check (length(role) between 1 and 64),        -- which template its configuration is made of
    add column variables         jsonb not null default '{}',                       -- for that template
    add column target_version    text,                                              -- the software that it should run
    add column tags              text[] not null default '{}',
    add column parent_id         bigint check (parent_id <> id),                    -- through which it is reached
    add column nas_id            bigint,
    add column ports             jsonb not null default '{}',                       -- ssh, telnet, snmp, http: where not the credential's or the usual one
    add column host_keys         text[] not null default '{}',                      -- pinned: "ssh-ed25519 AAAA…"
    add column legacy_algorithms boolean not null default false,
    add column sessions          smallint not null default 1 check (sessions between 1 and 16),
    add column timeout_seconds   real not null default 10 check (timeout_seconds between 1 and 300),
    add column polling           boolean not null default true,
    add column poll_groups       text[] not null default '{}',                      -- of those that a driver marks as costly, the ones to be read all the same
    add column note              text,
    add column observed          jsonb not null default '{}',                       -- fact -> {value, source, at}: at is since when it is this value
    add column said              jsonb not null default '{}',                       -- source -> fact -> its last word: who says it otherwise changes nothing
    add column facts_at          timestamptz,                                       -- when it last said anything of itself
    add column interfaces_at     timestamptz,
    add column neighbours_at     timestamptz,
    add column snmp_bulk         smallint check (snmp_bulk between 1 and 1000),     -- max-repetitions that were found to work
    add column version           integer not null default 1,
    add column updated_at        timestamptz not null default now(),
    add constraint devices_parent foreign key (tenant_id, parent_id) references devices (tenant_id, id) on delete set null (parent_id),
    add constraint devices_nas foreign key (tenant_id, nas_id) references nas (tenant_id, id) on delete set null (nas_id);
create index devices_address on devices (tenant_id, mgmt_address);
create index devices_site on devices (site_id) where site_id is not null;
create index devices_parent_id on devices (parent_id) where parent_id is not null;
create index devices_nas_id on devices (nas_id) where nas_id is not null;
create index devices_credential on devices (credential_id) where credential_id is not null;
create index devices_tags on devices using gin (tags);
create index devices_observed_name on devices (tenant_id, lower(observed -> 'hostname' ->> 'value'));

-- Which credential opened a device, per protocol: tried first the next time.
create table device_credentials (
    tenant_id     bigint not null,
    device_id     bigint not null,
    protocol      text not null check (protocol in ('ssh', 'telnet', 'snmp', 'http')),
    credential_id bigint not null,
    worked_at     timestamptz not null,
    primary key (device_id, protocol),
    foreign key (tenant_id, device_id) references devices (tenant_id, id) on delete cascade,
    foreign key (tenant_id, credential_id) references credentials (tenant_id, id) on delete cascade
);
create index device_credentials_credential on device_credentials (credential_id);

-- Named by the device's own name of it, which outlives its index: that may be another after a restart.
create table interfaces (
    id         bigint generated always as identity primary key,
    tenant_id  bigint not null,
    device_id  bigint not null,
    if_index   integer not null,
    name       text not null check (length(name) between 1 and 255),
    alias      text,
    type       integer,                                                             -- IANAifType
    mtu        bigint,
    speed_bps  bigint,
    mac        text,
    admin_up   boolean,
    oper_up    boolean,
    changed_at timestamptz,                                                         -- since when oper_up is what it is
    monitored  boolean not null default true,                                       -- an operator's
    note       text,                                                                -- an operator's
    gone_at    timestamptz,                                                         -- since when the device shows it no more
    version    integer not null default 1,                                          -- of what is an operator's
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (tenant_id, id),
    constraint interfaces_name unique (device_id, name),
    foreign key (tenant_id, device_id) references devices (tenant_id, id) on delete cascade
);
create index interfaces_tenant on interfaces (tenant_id, id);
create index interfaces_gone on interfaces (gone_at) where gone_at is not null;
create index interfaces_mac on interfaces (tenant_id, mac) where mac is not null;

-- Neighbours: what a device hears at an interface of it. `identity` is what makes two of them the same (netd.domain.facts).
create table links (
    id                 bigint generated always as identity primary key,
    tenant_id          bigint not null,
    device_id          bigint not null,
    identity           bytea not null,
    local_interface    text not null,
    protocol           text not null check (protocol in ('lldp', 'cdp', 'mndp', 'bridge')),
    remote_name        text,
    remote_interface   text,
    remote_address     inet,
    remote_mac         text,
    remote_description text,
    remote_device_id   bigint,                                                      -- where it is one that is known
    first_seen_at      timestamptz not null,
    last_seen_at       timestamptz not null,
    constraint links_identity unique (device_id, identity),
    foreign key (tenant_id, device_id) references devices (tenant_id, id) on delete cascade,
    foreign key (tenant_id, remote_device_id) references devices (tenant_id, id) on delete set null (remote_device_id)
);
create index links_tenant on links (tenant_id, id);
create index links_remote on links (remote_device_id) where remote_device_id is not null;

-- MAC and IP addresses, where and when: a line of a forwarding table (no address) or of a router's ARP or neighbour table.
create table endpoints (
    id            bigint generated always as identity primary key,
    tenant_id     bigint not null,
    device_id     bigint not null,
    source        text not null check (source in ('mac', 'arp')),
    mac           text not null,
    vlan          integer,
    address       inet,
    interface     text not null,
    first_seen_at timestamptz not null,
    last_seen_at  timestamptz not null,
    moved_at      timestamptz,                                                      -- when it was last seen at another interface than before
    foreign key (tenant_id, device_id) references devices (tenant_id, id) on delete cascade
);
create unique index endpoints_where on endpoints (device_id, source, mac, coalesce(vlan, -1), coalesce(address, '0.0.0.0'));
create index endpoints_tenant on endpoints (tenant_id, id);
create index endpoints_mac on endpoints (tenant_id, mac);
create index endpoints_address on endpoints (tenant_id, address) where address is not null;
create index endpoints_seen on endpoints (last_seen_at);

create table device_facts (
    id        bigint generated always as identity primary key,
    tenant_id bigint not null,
    device_id bigint not null,
    at        timestamptz not null,
    subject   text not null default '',                                             -- '': the device, else the name of an interface
    fact      text not null,
    before    text,
    after     text,
    source    text not null,                                                        -- snmp, cli …
    foreign key (tenant_id, device_id) references devices (tenant_id, id) on delete cascade
);
create index device_facts_device on device_facts (device_id, id);
create index device_facts_tenant on device_facts (tenant_id, id);
create index device_facts_at on device_facts (at);

-- Named selections of devices, for jobs and backup.
create table device_groups (
    id         bigint generated always as identity primary key,
    tenant_id  bigint not null references tenants,
    name       text not null check (length(name) between 1 and 64),
    selector   jsonb not null,                                                      -- netd.model.inventory.Selector
    note       text,
    version    integer not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (tenant_id, id)
);
create unique index device_groups_name on device_groups (tenant_id, lower(name));

create table discovery_candidates (
    id             bigint generated always as identity primary key,
    tenant_id      bigint not null references tenants,
    site_id        bigint,
    address        inet not null,
    also_at        inet[] not null default '{}',                                    -- other addresses at which the same device answered
    answers        text[] not null default '{}',                                    -- ping, snmp, ssh
    sys_object_id  text,
    sys_descr      text,
    sys_name       text,
    serial         text,
    banner         text,
    host_key       text,
    credential_id  bigint,                                                          -- the SNMP one that was answered
    vendor         text,                                                            -- as recognised
    platform       text,
    kind           text,
    state          text not null default 'new' check (state in ('new', 'accepted', 'ignored')),
    device_id      bigint,                                                          -- what it was accepted as, or seems to be
    first_seen_at  timestamptz not null,
    last_seen_at   timestamptz not null,
    version        integer not null default 1,
    created_at     timestamptz not null default now(),
    updated_at     timestamptz not null default now(),
    foreign key (tenant_id, site_id) references sites (tenant_id, id) on delete cascade,
    foreign key (tenant_id, device_id) references devices (tenant_id, id) on delete set null (device_id),
    foreign key (tenant_id, credential_id) references credentials (tenant_id, id) on delete set null (credential_id)
);
create unique index discovery_candidates_address on discovery_candidates (tenant_id, coalesce(site_id, 0), address);
create index discovery_candidates_tenant on discovery_candidates (tenant_id, id);

do $$
declare
    t text;
begin
    foreach t in array array['device_credentials', 'interfaces', 'links', 'endpoints', 'device_facts', 'device_groups', 'discovery_candidates'] loop
        execute format('grant select, insert, update, delete on %I to netd_tenant', t);
        execute format('alter table %I enable row level security', t);
        execute format('create policy tenant on %I to netd_tenant using (tenant_id = (select netd_scope_tenant()))', t);
    end loop;
    -- What hangs on a device is seen by who sees the device.
    foreach t in array array['device_credentials', 'interfaces', 'links', 'endpoints', 'device_facts'] loop
        execute format($f$create policy site on %I as restrictive to netd_tenant
            using ((select netd_scope_whole()) or exists (select from devices d where d.id = device_id))$f$, t);
    end loop;
    -- A credential of the whole tenant is not a site's to see; netd itself uses it there all the same.
    drop policy whole on credentials;
    foreach t in array array['credentials', 'discovery_candidates'] loop
        execute format($f$create policy site on %I as restrictive to netd_tenant
            using ((select netd_scope_whole()) or site_id = any((select netd_scope_sites())::bigint[]))$f$, t);
    end loop;
    execute 'create policy whole_i on device_groups as restrictive for insert to netd_tenant with check ((select netd_scope_whole()))';
    execute 'create policy whole_u on device_groups as restrictive for update to netd_tenant using ((select netd_scope_whole()))';
    execute 'create policy whole_d on device_groups as restrictive for delete to netd_tenant using ((select netd_scope_whole()))';
end $$;
