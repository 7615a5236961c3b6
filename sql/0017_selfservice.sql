-- Tokens of single subscribers for customer portals.

create or replace function netd_built_in_roles() returns trigger language plpgsql as $$
begin
    insert into roles (tenant_id, name, title, built_in)
    select new.id, v.name, v.title, true
    from (values
        ('admin', 'Administrator'), ('operator', 'Operator'), ('noc_engineer', 'NOC engineer'), ('support_agent', 'Support agent'),
        ('billing', 'Billing'), ('reseller', 'Reseller'), ('read_only', 'Read only'), ('customer_portal', 'Customer portal'),
        ('self_service', 'Self-service of one subscriber')
    ) as v (name, title);
    return null;
end $$;
insert into roles (tenant_id, name, title, built_in) select id, 'customer_portal', 'Customer portal', true from tenants
on conflict (tenant_id, name) do nothing;

-- Who may make tokens for the subscribers of a site sees and makes those, and no others.
drop policy whole on api_tokens;
create policy whole on api_tokens as restrictive to netd_tenant
    using ((select netd_scope_whole()) or ((select netd_scope_subscriber()) is null and subscriber_id is not null
           and exists (select from subscribers s where s.id = subscriber_id)));
create index api_tokens_subscriber on api_tokens (subscriber_id, expires_at) where subscriber_id is not null;

-- One subscriber sees its own plan, and nothing of what else is the whole tenant's.
create policy own on plans as restrictive for select to netd_tenant
    using ((select netd_scope_subscriber()) is null
           or id = (select s.plan_id from subscribers s where s.id = (select netd_scope_subscriber())));
create policy own on plan_quotas as restrictive for select to netd_tenant
    using ((select netd_scope_subscriber()) is null or exists (select from plans p where p.id = plan_id));
create policy own on quota_stages as restrictive for select to netd_tenant
    using ((select netd_scope_subscriber()) is null or exists (select from plan_quotas q where q.id = quota_id));
do $$
declare
    t text;
begin
    foreach t in array array['roles', 'pools', 'pool_ranges', 'pool_rules', 'pool_spans'] loop
        execute format('create policy own on %I as restrictive for select to netd_tenant using ((select netd_scope_subscriber()) is null)', t);
    end loop;
end $$;

-- Events of sessions are written in the transaction of accounting, one statement more for each batch that begins or ends any; so only for tenants where
-- somebody wants them: a webhook that takes them, or whoever asked for them lately.
create table session_event_wishes (
    tenant_id    bigint primary key references tenants,
    wanted_until timestamptz not null
);
alter table session_event_wishes enable row level security;
grant select, insert, update on session_event_wishes to netd_tenant;
create policy tenant on session_event_wishes to netd_tenant using (tenant_id = (select netd_scope_tenant()));
create policy own on session_event_wishes as restrictive to netd_tenant using ((select netd_scope_subscriber()) is null);

-- With the owner's rights: all tenants are looked at.
create function netd_session_events_wanted() returns setof bigint language sql stable security definer set search_path from current as $$
    select tenant_id from session_event_wishes where wanted_until > now()
    union
    select tenant_id from webhooks where types = '{}' or exists (select from unnest(types) t where t like 'session.%')
$$;
revoke execute on function netd_session_events_wanted() from public;

-- The engine has the tenants concerned in memory. Webhooks are updated with every delivery, so only what matters here is told.
create function netd_session_wish_changed() returns trigger language plpgsql security definer set search_path from current as $$
begin
    insert into changes (tenant_id, entity, entity_id) select t.id, 'session_wish', t.id from (select coalesce(new.tenant_id, old.tenant_id) as id) t;
    perform pg_notify('netd_changes', '');
    return null;
end $$;
revoke execute on function netd_session_wish_changed() from public;
create trigger session_wish_changed after insert or update or delete on session_event_wishes for each row execute function netd_session_wish_changed();
create trigger session_wish_changed after insert or delete or update of types on webhooks for each row execute function netd_session_wish_changed();
