-- What jobs are about is settled when they are made, and a nightly backup is not left out because netd was down for a minute.

-- Of kinds that need approval, and of jobs that await one: the devices that the arguments meant when the job was made. Names and groups may mean others
-- by the time that it is done, which nobody agreed to. Null: what the arguments mean then.
alter table jobs add column devices bigint[];

-- Who cancels a job that waits to be begun again says so of its targets, too.
grant update (state, finished_at) on job_targets to netd_tenant;

-- A backup that was missed is made as soon as netd is there again: those that netd made by itself and nobody changed since, and all to come.
update job_schedules set missed = 'run_once' where note = 'made by netd' and created_by = 'netd' and kind = 'config.backup' and version = 1;
create or replace function netd_backup_schedule(tenant bigint) returns void language plpgsql security definer as $$
begin
    insert into configuration_schedules values (tenant) on conflict do nothing;
    if found then
        insert into job_schedules (tenant_id, name, kind, args, cron, jitter_seconds, missed, begins_at, due_at, fires_at, note, created_by, person, trusted)
        select tenant, 'configuration backup', 'config.backup', '{"selector": {}}', '0 2 * * *', 3600, 'run_once', now(), t.at, t.at, 'made by netd', 'netd',
            'netd', true
        from (select date_trunc('day', now() at time zone 'UTC') at time zone 'UTC' + interval '26 hours' as at) t
        on conflict do nothing;
    end if;
end $$;
alter function netd_backup_schedule(bigint) set search_path from current;
