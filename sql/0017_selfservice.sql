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
