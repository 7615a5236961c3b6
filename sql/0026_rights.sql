-- Who stands behind a token, behind a schedule, and with which devices a schedule's maker agreed.

-- The person that a token's maker is, where the maker could not do without an approval what the token asks for: else somebody with one token and the
-- permission to make others would approve her own work. Null: the token is somebody of its own (its maker needed no approval, or was netd itself).
alter table api_tokens add column person text;

alter table job_schedules
    add column token_id bigint,                                                  -- the token it was made with: it ends with that, as the user's does with the user
    add column devices  bigint[];                                                -- of kinds that need approval: jobs for others than these await one

create or replace function netd_person(tenant bigint, caller bigint) returns text language sql stable security definer as $$
    select case when caller < 0 then 'user:' || -caller else coalesce(
        (select coalesce(t.person, 'user:' || u.id) from api_tokens t left join users u on u.tenant_id = t.tenant_id and lower(u.name) = lower(t.created_by)
         where t.tenant_id = tenant and t.id = caller), 'token:' || caller) end
$$;
alter function netd_person(bigint, bigint) set search_path from current;

-- Who set the device's address may do so at its site only: what is sent there is chosen with care (netd.domain.targets.reaches).
alter table devices add column site_addressed boolean not null default false;
