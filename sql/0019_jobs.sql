-- Work that takes longer than a request: jobs, what each did to which target, its log; and schedules that make jobs.
--
-- A running job is held by a lease. Every claim raises fence, and whoever does the work writes under the fence of its claim only: who was thought dead,
-- and is not, can undo nothing. Whoever changes a job locks its row first, and entries of the log are numbered by the row's log_seq: so they become
-- visible in their order, without gaps.

create table job_schedules (
    id               bigint generated always as identity primary key,
    tenant_id        bigint not null references tenants,
    name             text not null check (length(name) between 1 and 64),
    kind             text not null,
    args             jsonb not null default '{}',                                -- without those that are secret
    sealed           bytea,                                                      -- those, sealed
    cron             text,
    interval_seconds integer check (interval_seconds between 10 and 31622400),
    time_zone        text not null default 'UTC',
    jitter_seconds   integer not null default 0 check (jitter_seconds between 0 and 86400),
    missed           text not null default 'skip' check (missed in ('skip', 'run_once')),
    enabled          boolean not null default true,
    priority         smallint not null default 0 check (priority between -100 and 100),
    sites            bigint[] check (cardinality(sites) > 0),                    -- its jobs reach these only; null: the whole tenant
    begins_at        timestamptz not null,                                       -- intervals are counted from here
    due_at           timestamptz,                                                -- of the run to come; null: disabled, or there is none
    fires_at         timestamptz,                                                -- due_at and the jitter
    last_due_at      timestamptz,
    last_job_id      bigint,
    missed_count     bigint not null default 0,
    missed_at        timestamptz,                                                -- due_at of the last run that was not made
    missed_why       text,
    note             text,
    created_by       text not null,
    person           text not null,                                              -- as jobs have it
    trusted          boolean not null,                                           -- the maker's jobs need no approval
    version          integer not null default 1,
    created_at       timestamptz not null default now(),
    updated_at       timestamptz not null default now(),
    check (num_nonnulls(cron, interval_seconds) = 1),
    unique (tenant_id, id)
);
create unique index job_schedules_name on job_schedules (tenant_id, lower(name));
create index job_schedules_due on job_schedules (fires_at) where enabled;

create table jobs (
    id                  bigint generated always as identity primary key,
    tenant_id           bigint not null references tenants,
    kind                text not null,
    state               text not null check (state in ('awaiting_approval', 'queued', 'running', 'succeeded', 'failed', 'cancelled', 'timed_out')),
    args                jsonb not null default '{}',                             -- without those that are secret
    sealed              bytea,                                                   -- those, sealed
    sites               bigint[] check (cardinality(sites) > 0),                 -- where the work is, and all that it may touch; null: the whole tenant
    priority            smallint not null default 0 check (priority between -100 and 100),
    run_at              timestamptz not null default now(),
    idempotent          boolean not null,                                        -- may be done again where it is not known how far it came
    attempt             integer not null default 0,
    max_attempts        integer not null check (max_attempts between 1 and 100),
    timeout_seconds     double precision not null check (timeout_seconds > 0),
    lock_keys           text[] not null default '{}',                            -- nothing else that has one of these runs at the same time
    unique_key          text,
    idempotency_key     text,
    -- Who does it.
    worker              text,
    fence               bigint not null default 0,
    lease_until         timestamptz,
    cancel_requested_at timestamptz,
    cancelled_by        text,
    -- How it goes and went.
    progress            double precision check (progress between 0 and 1),
    progress_text       text,
    result              jsonb,
    error               text,
    log_seq             bigint not null default 0,
    log_octets          bigint not null default 0,
    log_cut             boolean not null default false,                          -- the log reached its limit: what was said after that is lost
    -- Who wanted it, and who agreed.
    created_by          text not null,
    person              text not null,                                           -- user:7 or token:9: what two who agree must differ in
    token_id            bigint,
    address             inet,
    request_id          text,
    approval_until      timestamptz,
    approved_by         text,
    approved_at         timestamptz,
    approval_note       text,
    schedule_id         bigint,                                                  -- outlives the schedule
    due_at              timestamptz,
    retry_of            bigint,
    created_at          timestamptz not null default now(),
    started_at          timestamptz,
    finished_at         timestamptz,
    unique (tenant_id, id),
    check ((state = 'running') = (lease_until is not null)),
    check ((state in ('succeeded', 'failed', 'cancelled', 'timed_out')) = (finished_at is not null))
);
create index jobs_queue on jobs (priority desc, run_at, id) where state = 'queued';
create index jobs_leases on jobs (lease_until) where state = 'running';
create index jobs_approvals on jobs (approval_until) where state = 'awaiting_approval';
create index jobs_tenant on jobs (tenant_id, id);
create index jobs_finished on jobs (finished_at) where finished_at is not null;
create index jobs_lock_keys on jobs using gin (lock_keys);                       -- jobs about a device
create index jobs_queued_keys on jobs using gin (lock_keys) where state = 'queued';
create unique index jobs_unique_key on jobs (tenant_id, unique_key) where state in ('awaiting_approval', 'queued', 'running');
create unique index jobs_idempotency_key on jobs (tenant_id, kind, idempotency_key);
create unique index jobs_due on jobs (schedule_id, due_at);

-- What running jobs have for themselves: one of a key.
create table job_locks (
    tenant_id bigint not null,
    key       text not null,
    job_id    bigint not null,
    since     timestamptz not null default now(),
    primary key (tenant_id, key),
    foreign key (tenant_id, job_id) references jobs (tenant_id, id) on delete cascade
);
create index job_locks_job on job_locks (job_id);

create table job_targets (
    id          bigint generated always as identity primary key,
    tenant_id   bigint not null,
    job_id      bigint not null,
    key         text not null,                                                   -- device:17
    name        text not null,
    state       text not null default 'queued' check (state in ('queued', 'running', 'succeeded', 'unverified', 'failed', 'cancelled', 'skipped')),
    outcome     text,                                                            -- as model.device.Outcome
    said        text,                                                            -- the target's own words
    result      jsonb,
    attempt     integer not null default 0,
    started_at  timestamptz,
    finished_at timestamptz,
    unique (job_id, key),
    foreign key (tenant_id, job_id) references jobs (tenant_id, id) on delete cascade
);
create index job_targets_key on job_targets (tenant_id, key);

create table job_log (
    tenant_id bigint not null,
    job_id    bigint not null,
    seq       bigint not null,
    at        timestamptz not null default clock_timestamp(),
    type      text not null,                                                     -- state or line
    level     text not null,
    attempt   integer not null,
    target    text,
    text      text not null,
    primary key (job_id, seq),
    foreign key (tenant_id, job_id) references jobs (tenant_id, id) on delete cascade
);

-- Who stands behind a caller: the user; of a token whose maker is a user, that user. Two who agree must be two persons.
create function netd_person(tenant bigint, caller bigint) returns text language sql stable security definer as $$
    select case when caller < 0 then 'user:' || -caller else coalesce(
        (select 'user:' || u.id from api_tokens t join users u on u.tenant_id = t.tenant_id and lower(u.name) = lower(t.created_by)
         where t.tenant_id = tenant and t.id = caller), 'token:' || caller) end
$$;
alter function netd_person(bigint, bigint) set search_path from current;
revoke execute on function netd_person(bigint, bigint) from public;
grant execute on function netd_person(bigint, bigint) to netd_tenant;

do $$
declare
    t text;
begin
    foreach t in array array['jobs', 'job_targets', 'job_log', 'job_schedules', 'job_locks'] loop
        execute format('alter table %I enable row level security', t);
        execute format('create policy tenant on %I to netd_tenant using (tenant_id = (select netd_scope_tenant()))', t);
    end loop;
    grant select, insert, update on jobs to netd_tenant;
    grant select on job_targets to netd_tenant;
    grant select, insert on job_log to netd_tenant;
    grant select, insert, update, delete on job_schedules to netd_tenant;
    -- Who may in some sites only sees the jobs and schedules that reach no further.
    foreach t in array array['jobs', 'job_schedules'] loop
        execute format($f$create policy site on %I as restrictive to netd_tenant
            using ((select netd_scope_whole()) or ((select netd_scope_subscriber()) is null and sites <@ (select netd_scope_sites())::bigint[]))$f$, t);
    end loop;
    foreach t in array array['job_targets', 'job_log'] loop
        execute format($f$create policy site on %I as restrictive to netd_tenant
            using ((select netd_scope_whole()) or exists (select from jobs j where j.id = job_id))$f$, t);
    end loop;
end $$;
