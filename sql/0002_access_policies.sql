-- When, from where and over what a subscriber may be online: access hours, lines, VLAN, devices that log in by their MAC address or circuit id, and
-- what of a rate is committed.

alter table plans
    add column access_hours       text,                                       -- netd.model.hours, its own notation; null: always
    add column time_zone          text,                                       -- IANA name; null: radius.time_zone of the configuration
    add column vlan               text check (length(vlan) between 1 and 32), -- Tunnel-Private-Group-Id (RFC 3580 3.31)
    add column contention_ratio   integer check (contention_ratio between 1 and 1000),  -- 20: a twentieth of the rates is committed
    add column committed_down_bps bigint check (committed_down_bps > 0),
    add column committed_up_bps   bigint check (committed_up_bps > 0);

alter table subscribers
    add column access_hours text,                                             -- in place of the plan's; Al: always
    add column time_zone    text,
    add column vlan         text check (length(vlan) between 1 and 32),
    add column line_mode    text not null default 'ignore' check (line_mode in ('ignore', 'log', 'enforce')),
    add column line_learn   boolean not null default false;                   -- without any line, the first log-in binds one

-- The lines a subscriber may come from: what is not null must all be so. Ids are text as netd.model.line has it.
create table subscriber_lines (
    id            bigint generated always as identity primary key,
    tenant_id     bigint not null references tenants,
    subscriber_id bigint not null,
    nas_id        bigint,
    circuit_id    text,
    remote_id     text,
    nas_port_id   text,
    mac           text check (mac ~ '^([0-9a-f]{2}:){5}[0-9a-f]{2}$'),
    learned_at    timestamptz,                                                -- null: an operator said so
    check (coalesce(nas_id::text, circuit_id, remote_id, nas_port_id, mac) is not null),
    foreign key (tenant_id, subscriber_id) references subscribers (tenant_id, id) on delete cascade,
    foreign key (tenant_id, nas_id) references nas (tenant_id, id)
);
create index subscriber_lines_subscriber on subscriber_lines (subscriber_id);
create index subscriber_lines_nas on subscriber_lines (nas_id);

-- What a device logs in by instead of a user name, through a NAS that may (nas.line_login).
create table subscriber_identities (
    tenant_id     bigint not null references tenants,
    subscriber_id bigint not null,
    kind          text not null check (kind in ('mac', 'circuit_id')),
    value         text not null,
    primary key (tenant_id, kind, value),
    foreign key (tenant_id, subscriber_id) references subscribers (tenant_id, id) on delete cascade
);
create index subscriber_identities_subscriber on subscriber_identities (subscriber_id);

alter table nas
    add column line_login           text[] not null default '{}' check (line_login <@ array['mac', 'circuit_id']),
    add column line_login_passwords text[] not null default '{}' check (line_login_passwords <@ array['same', 'secret', 'fixed', 'none']),
    add column line_login_password  bytea;                                    -- sealed; what `fixed` compares with

alter table radpostauth add column detail text;                               -- what the reason alone does not tell

do $$
declare
    t text;
begin
    foreach t in array array['subscriber_lines', 'subscriber_identities'] loop
        execute format('create trigger changed_i after insert on %I referencing new table as new_rows for each statement execute function netd_changed(''subscriber'', ''subscriber_id'')', t);
        execute format('create trigger changed_u after update on %I referencing new table as new_rows for each statement execute function netd_changed(''subscriber'', ''subscriber_id'')', t);
        execute format('create trigger changed_d after delete on %I referencing old table as old_rows for each statement execute function netd_changed(''subscriber'', ''subscriber_id'')', t);
    end loop;
end $$;
