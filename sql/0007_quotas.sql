-- Quotas: how much of a plan may be used in a period, what happens at which part of it, what was used, and what was bought on top.
-- Amounts are octets (unit volume) or seconds (unit time).

-- The anniversary that periods may begin on. A restored suspension goes on, a reactivated subscriber begins anew.
alter table subscribers add column activated_at timestamptz;
alter table subscribers disable trigger changed_u;
update subscribers set activated_at = created_at;
alter table subscribers enable trigger changed_u;
alter table subscribers alter column activated_at set default now(), alter column activated_at set not null;

create function netd_subscriber_activated() returns trigger language plpgsql as $$
begin
    new.activated_at := now();
    return new;
end $$;
create trigger activated before update of state on subscribers for each row
    when (new.state = 'active' and old.state in ('pending', 'terminated')) execute function netd_subscriber_activated();

create table plan_quotas (
    id                 bigint generated always as identity primary key,
    tenant_id          bigint not null references tenants,
    plan_id            bigint not null,
    name               text not null check (length(name) between 1 and 64),
    unit               text not null check (unit in ('volume', 'time')),
    period             text not null check (period in ('day', 'week', 'month', 'anniversary')),
    direction          text not null default 'both' check (direction in ('down', 'up', 'both')),
    amount             bigint not null check (amount > 0),
    timezone           text not null default 'UTC',                            -- IANA name: whose midnight a period begins at
    free_windows       jsonb not null default '[]',                            -- netd.model.quota.FreeWindow
    rollover_amount    bigint not null default 0 check (rollover_amount >= 0), -- at most so much is carried into the next period
    hysteresis_percent smallint not null default 1 check (hysteresis_percent between 0 and 50),
    version            integer not null default 1,
    created_at         timestamptz not null default now(),
    updated_at         timestamptz not null default now(),
    unique (tenant_id, id),
    foreign key (tenant_id, plan_id) references plans (tenant_id, id)          -- no cascade: top-ups of it may have been paid for
);
create unique index plan_quotas_name on plan_quotas (plan_id, lower(name));

create table quota_stages (
    tenant_id bigint not null references tenants,
    quota_id  bigint not null,
    percent   integer not null check (percent between 1 and 1000),
    action    text not null check (action in ('notify', 'lower', 'wall', 'block')),
    down_bps  bigint check (down_bps > 0),                                     -- action lower: the rates from then on; null: the plan's
    up_bps    bigint check (up_bps > 0),
    profile   text,                                                            -- action lower: QoS profile on the NAS in place of the plan's
    primary key (quota_id, percent, action),
    foreign key (tenant_id, quota_id) references plan_quotas (tenant_id, id) on delete cascade
);

-- One row for each subscriber, quota and period in which something was used. Written in the transaction of the session rows it is counted from.
create table quota_usage (
    tenant_id     bigint not null references tenants,
    subscriber_id bigint not null,
    quota_id      bigint not null,
    starts_at     timestamptz not null,
    ends_at       timestamptz not null,
    amount        bigint not null,                                             -- the quota's amount when it was last counted
    carried       bigint not null default 0,                                   -- unused amount of the period before
    used          bigint not null default 0,
    used_rest     smallint not null default 0,                                 -- hundredths: a free window may count a percentage
    forgiven      bigint not null default 0,                                   -- taken off ``used`` by a reset or a top-up
    covered       bigint not null default 0,                                   -- paid from top-ups
    held_percent  integer not null default 0,                                  -- the highest stage in force
    version       bigint not null default 0,
    updated_at    timestamptz not null default now(),
    primary key (subscriber_id, quota_id, starts_at),
    foreign key (tenant_id, subscriber_id) references subscribers (tenant_id, id) on delete cascade,
    foreign key (tenant_id, quota_id) references plan_quotas (tenant_id, id) on delete cascade
) with (fillfactor = 70);
create index quota_usage_quota on quota_usage (quota_id);

create table top_ups (
    id            bigint generated always as identity primary key,
    tenant_id     bigint not null references tenants,
    subscriber_id bigint not null,
    quota_id      bigint not null,
    amount        bigint not null check (amount > 0),
    used          bigint not null default 0 check (used between 0 and amount),
    expires_at    timestamptz,                                                 -- null: never
    note          text,
    created_at    timestamptz not null default now(),
    created_by    text not null,
    foreign key (tenant_id, subscriber_id) references subscribers (tenant_id, id) on delete cascade,
    foreign key (tenant_id, quota_id) references plan_quotas (tenant_id, id) on delete cascade
);
create index top_ups_subscriber on top_ups (subscriber_id, quota_id);
create index top_ups_quota on top_ups (quota_id);

-- Stages that were reached: each once in a period, whatever is counted, replayed or reset in it.
create table quota_events (
    id            bigint generated always as identity primary key,
    tenant_id     bigint not null references tenants,
    subscriber_id bigint not null,
    quota_id      bigint not null,
    starts_at     timestamptz not null,
    percent       integer not null,
    action        text not null,
    used          bigint not null,
    allowance     bigint not null,
    at            timestamptz not null default now(),
    unique (subscriber_id, quota_id, starts_at, percent, action),
    foreign key (tenant_id, subscriber_id) references subscribers (tenant_id, id) on delete cascade,
    foreign key (tenant_id, quota_id) references plan_quotas (tenant_id, id) on delete cascade
);
create index quota_events_tenant on quota_events (tenant_id, id);
create index quota_events_quota on quota_events (quota_id);
create index quota_events_at on quota_events using brin (at);

-- A plan's quotas are read again with the plan; stages change together with their quota's row. Only making and removing a top-up is news to the
-- engine: it is the one who counts it down.
create trigger changed_i after insert on plan_quotas referencing new table as new_rows for each statement execute function netd_changed('plan', 'plan_id');
create trigger changed_u after update on plan_quotas referencing new table as new_rows for each statement execute function netd_changed('plan', 'plan_id');
create trigger changed_d after delete on plan_quotas referencing old table as old_rows for each statement execute function netd_changed('plan', 'plan_id');
create trigger changed_i after insert on top_ups referencing new table as new_rows for each statement execute function netd_changed('quota', 'subscriber_id');
create trigger changed_d after delete on top_ups referencing old table as old_rows for each statement execute function netd_changed('quota', 'subscriber_id');

-- For what has no trigger: the engine reads again what a subscriber used. With the owner's rights, as triggers have them.
create function netd_usage_changed(subscriber bigint) returns void language plpgsql security definer set search_path from current as $$
begin
    insert into changes (tenant_id, entity, entity_id) select s.tenant_id, 'quota', s.id from subscribers s where s.id = subscriber;
    perform pg_notify('netd_changes', '');
end $$;

-- A subscriber's usage is seen by who sees the subscriber, a plan's quotas are the whole tenant's.
do $$
declare
    t text;
begin
    foreach t in array array['plan_quotas', 'quota_stages', 'quota_usage', 'top_ups', 'quota_events'] loop
        execute format('grant select, insert, update, delete on %I to netd_tenant', t);
        execute format('alter table %I enable row level security', t);
        execute format('create policy tenant on %I to netd_tenant using (tenant_id = (select netd_scope_tenant()))', t);
    end loop;
    foreach t in array array['quota_usage', 'top_ups', 'quota_events'] loop
        execute format($f$create policy site on %I as restrictive to netd_tenant
            using ((select netd_scope_whole()) or exists (select from subscribers s where s.id = subscriber_id))$f$, t);
    end loop;
    foreach t in array array['plan_quotas', 'quota_stages'] loop
        execute format('create policy whole_i on %I as restrictive for insert to netd_tenant with check ((select netd_scope_whole()))', t);
        execute format('create policy whole_u on %I as restrictive for update to netd_tenant using ((select netd_scope_whole()))', t);
        execute format('create policy whole_d on %I as restrictive for delete to netd_tenant using ((select netd_scope_whole()))', t);
    end loop;
end $$;
