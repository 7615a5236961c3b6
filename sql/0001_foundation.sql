-- The first schema: who may connect (tenants, plans, subscribers, locks, extra attributes), through what (nas),
-- what happened (sessions, radacct, radpostauth, usage_daily), who changed it (api_tokens, audit_log), and the change feed.
-- Column names are FreeRADIUS's where a FreeRADIUS table has that name, so that existing reports work.
-- No contrib extension is used: the embedded server has none.

create table tenants (
    id          bigint generated always as identity primary key,
    name        text not null unique check (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    created_at  timestamptz not null default now()
);
insert into tenants (name) values ('default');

create table plans (
    id                       bigint generated always as identity primary key,
    tenant_id                bigint not null references tenants,
    name                     text not null check (length(name) between 1 and 64),
    down_bps                 bigint not null check (down_bps > 0),           -- towards the subscriber
    up_bps                   bigint not null check (up_bps > 0),
    burst_down_bps           bigint check (burst_down_bps > 0),
    burst_up_bps             bigint check (burst_up_bps > 0),
    burst_threshold_down_bps bigint check (burst_threshold_down_bps > 0),
    burst_threshold_up_bps   bigint check (burst_threshold_up_bps > 0),
    burst_seconds            integer check (burst_seconds between 1 and 3600),
    priority                 smallint check (priority between 1 and 8),      -- 1 is served first
    session_timeout_seconds  integer check (session_timeout_seconds between 60 and 31536000),
    idle_timeout_seconds     integer check (idle_timeout_seconds between 30 and 31536000),
    interim_seconds          integer not null default 300 check (interim_seconds between 60 and 86400),
    max_sessions             integer not null default 0 check (max_sessions between 0 and 1000000),  -- 0: no limit
    ipv4_pool                text,                                           -- pool names as the NAS knows them
    ipv6_pool                text,
    delegated_ipv6_pool      text,
    dns                      inet[] not null default '{}',
    profile                  text,                                           -- QoS profile name on the NAS, where the vendor uses one
    version                  integer not null default 1,
    created_at               timestamptz not null default now(),
    updated_at               timestamptz not null default now(),
    unique (tenant_id, id)
);
create unique index plans_name on plans (tenant_id, lower(name));

create table subscribers (
    id                    bigint generated always as identity primary key,
    tenant_id             bigint not null references tenants,
    username              text not null check (length(username) between 1 and 253),
    username_key          text not null,                                     -- netd.model.subscriber.username_key(username)
    password              bytea,                                             -- sealed (netd.keyring); null: no password is accepted
    plan_id               bigint not null,
    state                 text not null default 'active' check (state in ('pending', 'active', 'suspended', 'terminated')),
    state_changed_at      timestamptz not null default now(),
    state_reason          text,
    max_sessions          integer check (max_sessions between 0 and 1000000), -- null: the plan's
    ipv4                  inet check (family(ipv4) = 4 and masklen(ipv4) = 32),
    ipv6_prefix           cidr check (family(ipv6_prefix) = 6),
    delegated_ipv6_prefix cidr check (family(delegated_ipv6_prefix) = 6),
    expires_at            timestamptz,
    full_name             text,
    note                  text,
    version               integer not null default 1,
    created_at            timestamptz not null default now(),
    updated_at            timestamptz not null default now(),
    unique (tenant_id, username_key),
    unique (tenant_id, id),
    foreign key (tenant_id, plan_id) references plans (tenant_id, id)
);
create index subscribers_plan on subscribers (plan_id);
create unique index subscribers_ipv4 on subscribers (tenant_id, ipv4) where ipv4 is not null and state <> 'terminated';
create unique index subscribers_delegated on subscribers (tenant_id, delegated_ipv6_prefix) where delegated_ipv6_prefix is not null and state <> 'terminated';
create index subscribers_name_prefix on subscribers (tenant_id, username_key text_pattern_ops);

-- Where the network is, what it consists of, and what opens it: the shape that the device services build on.
create table sites (
    id         bigint generated always as identity primary key,
    tenant_id  bigint not null references tenants,
    name       text not null check (length(name) between 1 and 64),
    created_at timestamptz not null default now(),
    unique (tenant_id, id)
);
create unique index sites_name on sites (tenant_id, lower(name));

create table credentials (
    id               bigint generated always as identity primary key,
    tenant_id        bigint not null references tenants,
    name             text not null check (length(name) between 1 and 64),
    type             text not null check (type in ('ssh_password', 'ssh_key', 'snmp_v1', 'snmp_v2c', 'snmp_v3', 'http')),
    encrypted_secret bytea not null,                                           -- sealed
    created_at       timestamptz not null default now(),
    unique (tenant_id, id)
);
create unique index credentials_name on credentials (tenant_id, lower(name));

create table devices (
    id            bigint generated always as identity primary key,
    tenant_id     bigint not null references tenants,
    vendor        text not null,
    model         text,
    hostname      text not null check (length(hostname) between 1 and 253),
    mgmt_address  inet not null,
    site_id       bigint,
    credential_id bigint,
    created_at    timestamptz not null default now(),
    unique (tenant_id, id),
    foreign key (tenant_id, site_id) references sites (tenant_id, id),
    foreign key (tenant_id, credential_id) references credentials (tenant_id, id)
);
create unique index devices_hostname on devices (tenant_id, lower(hostname));

create table access_locks (
    id            bigint generated always as identity primary key,
    tenant_id     bigint not null references tenants,
    subscriber_id bigint not null,
    reason        text not null check (reason in ('overdue', 'quota', 'admin', 'fraud', 'customer_hold', 'system')),
    mode          text not null check (mode in ('reject', 'walled')),
    note          text,
    until_at      timestamptz,
    created_at    timestamptz not null default now(),
    created_by    text not null,
    lifted_at     timestamptz,
    lifted_by     text,
    foreign key (tenant_id, subscriber_id) references subscribers (tenant_id, id) on delete cascade
);
create unique index access_locks_one_per_reason on access_locks (subscriber_id, reason) where lifted_at is null;

-- Additional check and reply attributes of one subscriber (FreeRADIUS operators).
create table radcheck (
    id            bigint generated always as identity primary key,
    tenant_id     bigint not null references tenants,
    subscriber_id bigint not null,
    username      text not null,
    attribute     text not null,
    op            varchar(2) not null default '==' check (op in ('==', '!=', '>', '>=', '<', '<=', '=~', '!~', '=*', '!*')),
    value         text not null,
    foreign key (tenant_id, subscriber_id) references subscribers (tenant_id, id) on delete cascade
);
create index radcheck_subscriber on radcheck (subscriber_id);

create table radreply (
    id            bigint generated always as identity primary key,
    tenant_id     bigint not null references tenants,
    subscriber_id bigint not null,
    username      text not null,
    attribute     text not null,
    op            varchar(2) not null default '=' check (op in ('=', ':=', '+=')),
    value         text not null,
    foreign key (tenant_id, subscriber_id) references subscribers (tenant_id, id) on delete cascade
);
create index radreply_subscriber on radreply (subscriber_id);

create table nas (
    id                                    bigint generated always as identity primary key,
    tenant_id                             bigint not null references tenants,
    nasname                               cidr not null unique,                -- the packets' source; the longest prefix wins
    shortname                             text not null check (length(shortname) between 1 and 64),
    type                                  text not null,                       -- name of a vendor driver
    secret                                bytea not null,                      -- sealed
    coa_address                           inet,                                -- null: where the session's packets came from
    coa_port                              integer check (coa_port between 1 and 65535),  -- null: the vendor's default
    require_message_authenticator         text not null default 'yes' check (require_message_authenticator in ('yes', 'no', 'auto')),
    limit_proxy_state                     text not null default 'yes' check (limit_proxy_state in ('yes', 'no', 'auto')),
    learned_require_message_authenticator text check (learned_require_message_authenticator in ('yes', 'no')),
    learned_limit_proxy_state             text check (learned_limit_proxy_state in ('yes', 'no')),
    enabled                               boolean not null default true,
    description                           text,
    version                               integer not null default 1,
    created_at                            timestamptz not null default now(),
    updated_at                            timestamptz not null default now(),
    unique (tenant_id, id)
);
create unique index nas_shortname on nas (tenant_id, lower(shortname));

-- Open sessions: small and hot. A row moves to radacct when the session ends. No changing column is indexed, so updates stay on the page.
create table sessions (
    acctuniqueid        text primary key,                                      -- 32 hex digits, netd.model.session.unique_id
    radacctid           bigint not null generated by default as identity unique,
    tenant_id           bigint not null references tenants,
    nas_id              bigint references nas on delete set null,
    subscriber_id       bigint references subscribers on delete set null,
    acctsessionid       text not null,
    username            text not null,
    realm               text,
    nasipaddress        inet not null,                                         -- what the NAS calls itself, else the packet's source
    nassourceaddress    inet not null,                                         -- the packet's source: CoA goes there
    nasidentifier       text,
    nasportid           text,
    nasporttype         text,
    acctstarttime       timestamptz not null,
    acctupdatetime      timestamptz not null,                                  -- of the last event, by the NAS's clock
    heard_at            timestamptz not null default now(),                    -- of its receipt, by ours: silence is measured from here
    acctinterval        integer,
    acctsessiontime     bigint not null default 0,                             -- seconds
    acctauthentic       text,
    connectinfo_start   text,
    acctinputoctets     bigint not null default 0,                             -- from the subscriber
    acctoutputoctets    bigint not null default 0,                             -- to the subscriber
    acctinputpackets    bigint not null default 0,
    acctoutputpackets   bigint not null default 0,
    calledstationid     text,
    callingstationid    text,
    servicetype         text,
    framedprotocol      text,
    framedipaddress     inet,
    framedipv6address   inet,
    framedipv6prefix    inet,
    framedinterfaceid   text,
    delegatedipv6prefix inet,
    class               text,
    interim_seconds     integer not null,                                      -- what the NAS was asked to keep; the reaper waits for three
    -- enforcement: what the session was last granted or changed to, and how the last attempt to change it ended
    applied_policy      text,
    enforce_state       text not null default 'applied' check (enforce_state in ('applied', 'pending', 'refused', 'unreachable', 'unverified')),
    enforce_detail      text,
    enforce_at          timestamptz,
    doomed              text                                                   -- why it must end whatever its policy says (replaced, deleted)
) with (fillfactor = 70);
create index sessions_subscriber on sessions (subscriber_id);
create index sessions_nas on sessions (nas_id);
create index sessions_username on sessions (tenant_id, lower(btrim(username)));

-- What each fingerprint in applied_policy stands for, so that the way from what a session has to what it should have is known after a restart too.
create table policies (
    fingerprint text primary key,
    vendor      text not null,
    service     jsonb not null,                                                -- netd.sdk.Service
    created_at  timestamptz not null default now()
);

-- Closed sessions, by month of their start. Partitions are made ahead and detached after the retention time by netd.store.partitions.
create table radacct (
    radacctid           bigint not null,
    tenant_id           bigint not null references tenants,
    nas_id              bigint,                                                -- history: outlives the NAS, so no foreign key
    subscriber_id       bigint references subscribers on delete set null,
    acctuniqueid        text not null,
    acctsessionid       text not null,
    username            text not null,
    realm               text,
    nasipaddress        inet not null,
    nassourceaddress    inet not null,
    nasidentifier       text,
    nasportid           text,
    nasporttype         text,
    acctstarttime       timestamptz not null,
    acctupdatetime      timestamptz not null,
    acctstoptime        timestamptz not null,
    acctinterval        integer,
    acctsessiontime     bigint not null default 0,
    acctauthentic       text,
    connectinfo_start   text,
    connectinfo_stop    text,
    acctinputoctets     bigint not null default 0,
    acctoutputoctets    bigint not null default 0,
    acctinputpackets    bigint not null default 0,
    acctoutputpackets   bigint not null default 0,
    calledstationid     text,
    callingstationid    text,
    acctterminatecause  text not null,
    servicetype         text,
    framedprotocol      text,
    framedipaddress     inet,
    framedipv6address   inet,
    framedipv6prefix    inet,
    framedinterfaceid   text,
    delegatedipv6prefix inet,
    class               text,
    interim_seconds     integer not null,
    applied_policy      text,
    closed_by           text not null check (closed_by in ('stop', 'nas_reload', 'reaper', 'superseded', 'not_found', 'operator')),
    primary key (radacctid, acctstarttime)
) partition by range (acctstarttime);
create unique index radacct_unique on radacct (acctuniqueid, acctstarttime);
create index radacct_subscriber on radacct (subscriber_id, acctstarttime);
-- Lists go back by radacctid, a page at a time: each of these gives that order by itself.
create index radacct_tenant on radacct (tenant_id, radacctid);
create index radacct_username on radacct (tenant_id, lower(btrim(username)), radacctid);
create index radacct_nas on radacct (nas_id, radacctid);
-- "Who had this address then?" For IPv6 the question is asked with every prefix that holds the address.
create index radacct_framedip on radacct (framedipaddress, acctstarttime);
create index radacct_ipv6address on radacct (framedipv6address) where framedipv6address is not null;
create index radacct_ipv6prefix on radacct (framedipv6prefix) where framedipv6prefix is not null;
create index radacct_delegated on radacct (delegatedipv6prefix) where delegatedipv6prefix is not null;
create table radacct_default partition of radacct default;                     -- a start far outside is kept, not lost

create table usage_daily (
    tenant_id       bigint not null references tenants,
    subscriber_id   bigint not null references subscribers on delete cascade,
    day             date not null,                                             -- UTC
    up_octets       bigint not null default 0,
    down_octets     bigint not null default 0,
    session_seconds bigint not null default 0,
    primary key (subscriber_id, day)
);
create index usage_daily_day on usage_daily using brin (day);                  -- for deleting what is too old

-- One row per answered Access-Request. There is no pass column on purpose.
create table radpostauth (
    id               bigint generated always as identity primary key,
    tenant_id        bigint not null references tenants,
    nas_id           bigint,
    subscriber_id    bigint,
    username         text not null,
    username_key     text not null,
    reply            text not null,                                            -- Access-Accept or Access-Reject
    reason           text not null,                                            -- netd.model.access.Reason
    nasipaddress     inet,
    calledstationid  text,
    callingstationid text,
    class            text,
    authdate         timestamptz not null
);
create index radpostauth_username on radpostauth (tenant_id, username_key, authdate desc);
create index radpostauth_authdate on radpostauth (authdate);

create table api_tokens (
    id           bigint generated always as identity primary key,
    tenant_id    bigint not null references tenants,
    public_id    text not null unique check (public_id ~ '^[a-z2-7]{12}$'),  -- the token's second part: tells tokens apart, opens nothing
    name         text not null,
    role         text not null check (role in ('admin', 'operator', 'read_only')),
    token_hash   bytea not null unique,                                        -- SHA-256 of a token with 256 random bits
    created_at   timestamptz not null default now(),
    created_by   text not null,
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz
);

create table audit_log (
    id          bigint generated always as identity primary key,
    tenant_id   bigint not null references tenants,
    at          timestamptz not null default now(),
    actor       text not null,
    token_id    bigint,
    address     inet,
    request_id  text,
    action      text not null,
    object_type text not null,
    object_id   text not null,
    before      jsonb,                                                         -- secrets masked
    after       jsonb,
    result      text not null
);
create index audit_log_tenant on audit_log (tenant_id, id);
create index audit_log_object on audit_log (tenant_id, object_type, object_id, id);

-- The change feed: what the engine's directory must read again. A reader asks for rows whose transaction was not yet finished
-- when it last looked (xid), so rows that commit late are not missed; see netd.store.feed.
create table changes (
    id        bigint generated always as identity primary key,
    xid       xid8 not null default pg_current_xact_id(),
    at        timestamptz not null default now(),
    tenant_id bigint,
    entity    text not null,
    entity_id bigint not null
);
create index changes_xid on changes (xid);
create index changes_at on changes (at);

create function netd_changed() returns trigger language plpgsql as $$
begin
    -- tg_argv[0]: the entity that readers know; tg_argv[1]: the column that holds its id.
    if tg_op = 'DELETE' then
        execute format('insert into changes (tenant_id, entity, entity_id) select distinct tenant_id, %L, %I from old_rows', tg_argv[0], tg_argv[1]);
    else
        execute format('insert into changes (tenant_id, entity, entity_id) select distinct tenant_id, %L, %I from new_rows', tg_argv[0], tg_argv[1]);
    end if;
    perform pg_notify('netd_changes', '');
    return null;
end $$;

do $$
declare
    t record;
begin
    for t in select * from (values
        ('plans', 'plan', 'id'), ('subscribers', 'subscriber', 'id'), ('nas', 'nas', 'id'),
        ('access_locks', 'subscriber', 'subscriber_id'), ('radcheck', 'subscriber', 'subscriber_id'), ('radreply', 'subscriber', 'subscriber_id')
    ) as v (tab, entity, col) loop
        execute format('create trigger changed_i after insert on %I referencing new table as new_rows for each statement execute function netd_changed(%L, %L)', t.tab, t.entity, t.col);
        execute format('create trigger changed_u after update on %I referencing new table as new_rows for each statement execute function netd_changed(%L, %L)', t.tab, t.entity, t.col);
        execute format('create trigger changed_d after delete on %I referencing old table as old_rows for each statement execute function netd_changed(%L, %L)', t.tab, t.entity, t.col);
    end loop;
end $$;

-- radcheck.username and radreply.username repeat the subscriber's name for tools that expect FreeRADIUS's columns.
create function netd_fill_username() returns trigger language plpgsql as $$
begin
    select s.username into strict new.username from subscribers s where s.id = new.subscriber_id and s.tenant_id = new.tenant_id;
    return new;
end $$;
create trigger fill_username before insert or update on radcheck for each row execute function netd_fill_username();
create trigger fill_username before insert or update on radreply for each row execute function netd_fill_username();

create function netd_subscriber_renamed() returns trigger language plpgsql as $$
begin
    update radcheck set username = new.username where subscriber_id = new.id;
    update radreply set username = new.username where subscriber_id = new.id;
    return null;
end $$;
create trigger renamed after update of username on subscribers for each row when (old.username is distinct from new.username) execute function netd_subscriber_renamed();
