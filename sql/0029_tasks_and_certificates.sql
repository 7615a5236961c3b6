-- Jobs as other systems and reports ask for them with SQL: one row each, with its log and its devices in it. The caller's policies hold, for it reads as the
-- caller does: who sees a job in `jobs` sees it here, and nothing else.
--
-- `playbook` is the argument of that name where a kind has one, else the kind. `target_ids` are the devices among the targets; of a job that has not begun
-- those that its arguments name.

create view provisioning_tasks with (security_invoker = true) as
select
    j.id,
    coalesce(j.args ->> 'playbook', j.kind) as playbook,
    j.state as status,
    j.started_at,
    j.finished_at,
    coalesce((
        select string_agg(concat(to_char(l.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), ' ', l.level, ' ' || l.target, ' ', l.text), E'\n' order by l.seq)
        from job_log l where l.job_id = j.id
    ), '') as log,
    j.created_by as initiated_by,
    array(
        select substr(k.key, 8)::bigint from (
            select t.key from job_targets t where t.job_id = j.id
            union
            select unnest(j.lock_keys)
            union
            select 'device:' || d.id from jsonb_array_elements_text(
                case when j.attempt = 0 and jsonb_typeof(j.args -> 'devices') = 'array' then j.args -> 'devices' else '[]' end
            ) as named (hostname) join devices d on d.tenant_id = j.tenant_id and lower(d.hostname) = lower(named.hostname)
        ) k where k.key ~ '^device:[0-9]{1,18}$' order by 1
    ) as target_ids
from jobs j;

grant select on provisioning_tasks to netd_tenant;

-- SHA-256 of TLS certificates that a device may show, in hex, pinned as host_keys are.
alter table devices add column certificates text[] not null default '{}';
