-- Telemetry: what devices were measured to do, by day; what of it is kept for longer, summed up; who polls whom; thresholds and the alarms that they raise.

-- Which node polls which devices: a device is of the shard that its id modulo 256 names, a shard of the node that leased it last.
create table poll_nodes (
    node    text primary key,
    seen_at timestamptz not null
);
create table poll_shards (
    shard    smallint primary key check (shard between 0 and 255),
    node     text,
    until_at timestamptz not null default '-infinity'
);
insert into poll_shards (shard) select generate_series(0, 255);

-- A gap is a row that is not there. No foreign keys: each would be looked up for each row; what hangs on a device that is gone is shown to nobody and
-- goes with its day.
create table reach_samples (
    tenant_id bigint not null,
    device_id bigint not null,
    at        timestamptz not null,
    up        boolean not null,
    rtt_ms    real
) partition by range (at);
create index reach_samples_device on reach_samples (device_id, at);

create table device_samples (
    tenant_id           bigint not null,
    device_id           bigint not null,
    at                  timestamptz not null,
    uptime_seconds      bigint,
    cpu_percent         real,
    memory_used_octets  bigint,
    memory_total_octets bigint,
    temperature_celsius real,
    voltage_volts       real,
    power_watts         real
) partition by range (at);
create index device_samples_device on device_samples (device_id, at);

-- Rates over `seconds`, the time since the look before; null where the counters do not tell.
create table interface_samples (
    tenant_id    bigint not null,
    device_id    bigint not null,
    interface_id bigint not null,
    at           timestamptz not null,
    seconds      real,
    in_bps       bigint,
    out_bps      bigint,
    in_pps       real,
    out_pps      real,
    in_errors    real,                                                              -- per second
    out_errors   real,
    in_discards  real,
    out_discards real,
    oper_up      boolean,
    speed_bps    bigint
) partition by range (at);
create index interface_samples_interface on interface_samples (interface_id, at);

create table optics_samples (
    tenant_id           bigint not null,
    device_id           bigint not null,
    interface           text not null,
    onu                 text,
    at                  timestamptz not null,
    rx_dbm              real,
    tx_dbm              real,
    olt_rx_dbm          real,
    temperature_celsius real,
    voltage_volts       real,
    bias_milliamperes   real,
    distance_metres     integer
) partition by range (at);
create index optics_samples_device on optics_samples (device_id, interface, at);

-- Sums of closed spans of 5 minutes, an hour, a day. The 95th percentile of hours and days is that of the averages over 5 minutes, as providers bill.
do $$
declare
    level text;
    gauge text;
    columns text;
begin
    foreach level in array array['5m', '1h', '1d'] loop
        execute format('create table reach_%s (tenant_id bigint not null, device_id bigint not null, at timestamptz not null, up integer not null,
            down integer not null, rtt_avg real, rtt_max real, primary key (device_id, at)) partition by range (at)', level);
        columns := '';
        foreach gauge in array array['cpu_percent', 'memory_percent', 'temperature_celsius', 'voltage_volts', 'power_watts'] loop
            columns := columns || format(', %1$s_avg real, %1$s_min real, %1$s_max real, %1$s_p95 real', gauge);
        end loop;
        execute format('create table device_%s (tenant_id bigint not null, device_id bigint not null, at timestamptz not null, samples integer not null%s,
            primary key (device_id, at)) partition by range (at)', level, columns);
        columns := '';
        foreach gauge in array array['in_bps', 'out_bps'] loop
            columns := columns || format(', %1$s_avg bigint, %1$s_min bigint, %1$s_max bigint, %1$s_p95 bigint', gauge);
        end loop;
        foreach gauge in array array['in_pps', 'out_pps', 'in_errors', 'out_errors', 'in_discards', 'out_discards'] loop
            columns := columns || format(', %1$s_avg real, %1$s_max real', gauge);
        end loop;
        execute format('create table interface_%s (tenant_id bigint not null, device_id bigint not null, interface_id bigint not null, at timestamptz not null,
            seconds real not null, speed_bps bigint%s, primary key (interface_id, at)) partition by range (at)', level, columns);
    end loop;
end $$;

-- Up to when each level is summed up. A row is locked by the node that does it.
create table rollups (
    level      text primary key,
    done_until timestamptz
);
insert into rollups (level) values ('5m'), ('1h'), ('1d');

create table thresholds (
    id           bigint generated always as identity primary key,
    tenant_id    bigint not null references tenants,
    name         text not null check (length(name) between 1 and 64),
    metric       text not null,
    above        boolean not null default true,                                     -- else it is bad to be below
    raise_level     double precision not null,
    clear_level     double precision not null,                                         -- hysteresis: beyond this it is over
    hold_seconds integer not null default 0 check (hold_seconds between 0 and 86400),
    severity     text not null default 'warning' check (severity in ('warning', 'major', 'critical')),
    selector     jsonb not null default '{}',                                       -- of devices, netd.model.inventory.Selector
    interfaces   text,                                                              -- of interfaces: a name with * and ?
    enabled      boolean not null default true,
    note         text,
    version      integer not null default 1,
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now(),
    unique (tenant_id, id),
    check (case when above then clear_level <= raise_level else clear_level >= raise_level end)
);
create unique index thresholds_name on thresholds (tenant_id, lower(name));

-- One open alarm per device, threshold (null: it cannot be reached) and subject (an interface's name, or '').
create table alarms (
    id              bigint generated always as identity primary key,
    tenant_id       bigint not null,
    device_id       bigint not null,
    threshold_id    bigint,
    subject         text not null default '',
    name            text not null,                                                  -- unreachable, or the threshold's
    severity        text not null check (severity in ('warning', 'major', 'critical')),
    state           text not null default 'raised' check (state in ('raised', 'acknowledged', 'cleared')),
    value           double precision,                                               -- when it was raised
    raised_at       timestamptz not null,
    acknowledged_at timestamptz,
    acknowledged_by text,
    note            text,
    cleared_at      timestamptz,
    version         integer not null default 1,
    updated_at      timestamptz not null default now(),
    foreign key (tenant_id, device_id) references devices (tenant_id, id) on delete cascade,
    foreign key (tenant_id, threshold_id) references thresholds (tenant_id, id) on delete cascade
);
create unique index alarms_open on alarms (device_id, coalesce(threshold_id, 0), subject) where state <> 'cleared';
create index alarms_tenant on alarms (tenant_id, id);
create index alarms_threshold on alarms (threshold_id) where threshold_id is not null;
create index alarms_cleared on alarms (cleared_at) where cleared_at is not null;

do $$
declare
    t text;
begin
    foreach t in array array['reach_samples', 'device_samples', 'interface_samples', 'optics_samples', 'reach_5m', 'reach_1h', 'reach_1d',
                             'device_5m', 'device_1h', 'device_1d', 'interface_5m', 'interface_1h', 'interface_1d', 'thresholds', 'alarms'] loop
        execute format('alter table %I enable row level security', t);
        execute format('create policy tenant on %I to netd_tenant using (tenant_id = (select netd_scope_tenant()))', t);
        if t <> 'thresholds' then
            execute format('create policy site on %I as restrictive to netd_tenant
                using ((select netd_scope_whole()) or exists (select from devices d where d.id = device_id))', t);
        end if;
        execute format('grant select on %I to netd_tenant', t);
    end loop;
    -- Samples are written by netd itself only.
    grant insert, update, delete on thresholds to netd_tenant;
    grant update on alarms to netd_tenant;
    execute 'create policy own on thresholds as restrictive for select to netd_tenant using ((select netd_scope_subscriber()) is null)';
    execute 'create policy whole_i on thresholds as restrictive for insert to netd_tenant with check ((select netd_scope_whole()))';
    execute 'create policy whole_u on thresholds as restrictive for update to netd_tenant using ((select netd_scope_whole()))';
    execute 'create policy whole_d on thresholds as restrictive for delete to netd_tenant using ((select netd_scope_whole()))';
end $$;
