-- Who may do what, and where: organizations and sites, roles, tokens that hold in a part of a tenant; and row-level security, so that a
-- forgotten condition shows nothing instead of everything.
--
-- The API's connections act as the role netd_tenant, which owns nothing and cannot bypass a policy; each of their transactions says for whom
-- it acts (netd.tenant, netd.sites, netd.subscriber). The engine and migrations act as the owner of the tables, who sees all.

create table organizations (
    id         bigint generated always as identity primary key,
    tenant_id  bigint not null references tenants,
    name       text not null check (length(name) between 1 and 64),
    parent_id  bigint,
    note       text,
    version    integer not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (tenant_id, id),
    foreign key (tenant_id, parent_id) references organizations (tenant_id, id),
    check (parent_id <> id)
);
create unique index organizations_name on organizations (tenant_id, lower(name));

alter table sites
    add column organization_id bigint,
    add column note            text,
    add column version         integer not null default 1,
    add column updated_at      timestamptz not null default now(),
    add foreign key (tenant_id, organization_id) references organizations (tenant_id, id);
create index sites_organization on sites (organization_id);

alter table subscribers add column site_id bigint, add foreign key (tenant_id, site_id) references sites (tenant_id, id);
create index subscribers_site on subscribers (site_id) where site_id is not null;
alter table nas add column if not exists site_id bigint;
alter table nas add constraint nas_site foreign key (tenant_id, site_id) references sites (tenant_id, id);

-- The permissions of built-in roles are netd's own (netd.model.permission); their rows are here so that tokens can refer to them.
create table roles (
    id          bigint generated always as identity primary key,
    tenant_id   bigint not null references tenants,
    name        text not null check (name ~ '^[a-z][a-z0-9_]{0,62}$'),
    title       text not null check (length(title) between 1 and 64),
    built_in    boolean not null default false,
    permissions text[] not null default '{}',
    version     integer not null default 1,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    unique (tenant_id, id),
    constraint roles_name unique (tenant_id, name)
);

create function netd_built_in_roles() returns trigger language plpgsql as $$
begin
    insert into roles (tenant_id, name, title, built_in)
    select new.id, v.name, v.title, true
    from (values
        ('admin', 'Administrator'), ('operator', 'Operator'), ('noc_engineer', 'NOC engineer'), ('support_agent', 'Support agent'),
        ('billing', 'Billing'), ('reseller', 'Reseller'), ('read_only', 'Read only'), ('self_service', 'Self-service of one subscriber')
    ) as v (name, title);
    return null;
end $$;
create trigger built_in_roles after insert on tenants for each row execute function netd_built_in_roles();
insert into roles (tenant_id, name, title, built_in)
select t.id, v.name, v.title, true
from tenants t, (values
    ('admin', 'Administrator'), ('operator', 'Operator'), ('noc_engineer', 'NOC engineer'), ('support_agent', 'Support agent'),
    ('billing', 'Billing'), ('reseller', 'Reseller'), ('read_only', 'Read only'), ('self_service', 'Self-service of one subscriber')
) as v (name, title);

-- A token may hold in one organization or site only, or for one subscriber, and for some of its role's permissions only.
alter table api_tokens
    drop constraint api_tokens_role_check,
    add constraint api_tokens_role foreign key (tenant_id, role) references roles (tenant_id, name) on update cascade,
    add column organization_id bigint,
    add column site_id         bigint,
    add column subscriber_id   bigint,
    add column permissions     text[],
    add constraint api_tokens_organization foreign key (tenant_id, organization_id) references organizations (tenant_id, id),
    add constraint api_tokens_site foreign key (tenant_id, site_id) references sites (tenant_id, id),
    add constraint api_tokens_subscriber foreign key (tenant_id, subscriber_id) references subscribers (tenant_id, id) on delete cascade,
    add constraint api_tokens_one_scope check (num_nonnulls(organization_id, site_id, subscriber_id) <= 1);

-- An organization's sites and those of the organizations below it.
create function netd_sites_of(organization bigint) returns bigint[] language sql stable as $$
    with recursive below as (
        select organization as id
        union
        select o.id from organizations o join below b on o.parent_id = b.id
    )
    select coalesce(array_agg(s.id order by s.id), '{}') from sites s join below b on s.organization_id = b.id
$$;

-- What a token's public part stands for. It is asked before it is known for which tenant, so with the rights of the owner; the answer opens
-- nothing without the token's secret part.
create function netd_token(wanted text) returns table (
    id bigint, tenant_id bigint, public_id text, name text, role text, created_at timestamptz, created_by text, expires_at timestamptz,
    last_used_at timestamptz, revoked_at timestamptz, organization_id bigint, site_id bigint, subscriber_id bigint, permissions text[],
    token_hash bytea, built_in boolean, role_permissions text[], sites bigint[]
) language sql stable security definer as $$
    select t.id, t.tenant_id, t.public_id, t.name, t.role, t.created_at, t.created_by, t.expires_at, t.last_used_at, t.revoked_at,
        t.organization_id, t.site_id, t.subscriber_id, t.permissions, t.token_hash, r.built_in, r.permissions,
        case when t.site_id is not null then array[t.site_id] when t.organization_id is not null then netd_sites_of(t.organization_id) end
    from api_tokens t join roles r on r.tenant_id = t.tenant_id and r.name = t.role
    where t.public_id = wanted
$$;

create function netd_token_used(token bigint, at timestamptz) returns void language sql security definer as $$
    update api_tokens set last_used_at = greatest(last_used_at, at) where id = token
$$;

-- For whom the transaction acts. Unset, it acts for nobody. Sites: null is the whole tenant.
create function netd_scope_tenant() returns bigint language sql stable as $$
    select nullif(current_setting('netd.tenant', true), '')::bigint
$$;
create function netd_scope_sites() returns bigint[] language sql stable as $$
    select case coalesce(current_setting('netd.sites', true), '') when '*' then null else string_to_array(nullif(current_setting('netd.sites', true), ''), ',')::bigint[] end
$$;
create function netd_scope_whole() returns boolean language sql stable as $$
    select coalesce(current_setting('netd.sites', true), '') = '*' and coalesce(current_setting('netd.subscriber', true), '') = ''
$$;
create function netd_scope_subscriber() returns bigint language sql stable as $$
    select nullif(current_setting('netd.subscriber', true), '')::bigint
$$;

do $$
begin
    if not exists (select from pg_roles where rolname = 'netd_tenant') then
        create role netd_tenant nologin;
    end if;
    if not pg_has_role(current_user, 'netd_tenant', 'member') then
        execute format('grant netd_tenant to %I', current_user);
    end if;
exception
    when duplicate_object or unique_violation then null;  -- a migration of another database on this server was quicker
    when insufficient_privilege then
        raise exception using errcode = 'insufficient_privilege', message = format(
            'the role netd_tenant is needed and %s may not make it; as a superuser: create role netd_tenant nologin; grant netd_tenant to %I', current_user, current_user);
end $$;

do $$
declare
    t text;
begin
    execute format('grant usage on schema %I to netd_tenant', current_schema());
    foreach t in array array[
        'plans', 'subscribers', 'organizations', 'sites', 'credentials', 'devices', 'access_locks', 'radcheck', 'radreply', 'nas', 'sessions', 'radacct',
        'usage_daily', 'roles', 'api_tokens', 'subscriber_lines', 'subscriber_identities'
    ] loop
        execute format('grant select, insert, update, delete on %I to netd_tenant', t);
    end loop;
    grant select on tenants, radpostauth to netd_tenant;
    grant select, insert on audit_log to netd_tenant;

    foreach t in array array[
        'plans', 'subscribers', 'organizations', 'sites', 'credentials', 'devices', 'access_locks', 'radcheck', 'radreply', 'nas', 'sessions', 'radacct',
        'usage_daily', 'roles', 'api_tokens', 'radpostauth', 'audit_log', 'subscriber_lines', 'subscriber_identities'
    ] loop
        execute format('alter table %I enable row level security', t);
        execute format('create policy tenant on %I to netd_tenant using (tenant_id = (select netd_scope_tenant()))', t);
    end loop;
    alter table tenants enable row level security;
    create policy tenant on tenants to netd_tenant using (id = (select netd_scope_tenant()));
    alter table changes enable row level security;
    alter table policies enable row level security;

    -- Things that stand at a site.
    foreach t in array array['nas', 'devices'] loop
        execute format($f$create policy site on %I as restrictive to netd_tenant
            using ((select netd_scope_whole()) or site_id = any((select netd_scope_sites())::bigint[]))$f$, t);
    end loop;
    create policy site on sites as restrictive to netd_tenant
        using ((select netd_scope_whole()) or id = any((select netd_scope_sites())::bigint[]));
    create policy site on organizations as restrictive to netd_tenant
        using ((select netd_scope_whole()) or exists (select from sites s where s.organization_id = organizations.id));
    create policy site on subscribers as restrictive to netd_tenant
        using ((select netd_scope_whole()) or id = (select netd_scope_subscriber())
               or ((select netd_scope_subscriber()) is null and site_id = any((select netd_scope_sites())::bigint[])));

    -- What hangs on a subscriber is seen by who sees the subscriber.
    foreach t in array array['access_locks', 'radcheck', 'radreply', 'usage_daily', 'subscriber_lines', 'subscriber_identities'] loop
        execute format($f$create policy site on %I as restrictive to netd_tenant
            using ((select netd_scope_whole()) or exists (select from subscribers s where s.id = subscriber_id))$f$, t);
    end loop;
    foreach t in array array['sessions', 'radacct', 'radpostauth'] loop
        execute format($f$create policy site on %I as restrictive to netd_tenant
            using ((select netd_scope_whole()) or exists (select from subscribers s where s.id = subscriber_id)
                   or exists (select from nas n where n.id = nas_id))$f$, t);
    end loop;

    -- What is the whole tenant's is changed, and where it is about the tenant's people also seen, by those only who may in the whole tenant.
    foreach t in array array['plans', 'organizations', 'sites', 'roles'] loop
        execute format('create policy whole_i on %I as restrictive for insert to netd_tenant with check ((select netd_scope_whole()))', t);
        execute format('create policy whole_u on %I as restrictive for update to netd_tenant using ((select netd_scope_whole()))', t);
        execute format('create policy whole_d on %I as restrictive for delete to netd_tenant using ((select netd_scope_whole()))', t);
    end loop;
    foreach t in array array['credentials', 'api_tokens'] loop
        execute format('create policy whole on %I as restrictive to netd_tenant using ((select netd_scope_whole()))', t);
    end loop;
    create policy whole on audit_log as restrictive for select to netd_tenant using ((select netd_scope_whole()));
end $$;

-- Triggers that write for the engine do it with the owner's rights.
alter function netd_changed() security definer set search_path from current;
alter function netd_token(text) set search_path from current;
alter function netd_token_used(bigint, timestamptz) set search_path from current;
alter function netd_sites_of(bigint) set search_path from current;
revoke execute on function netd_changed(), netd_token(text), netd_token_used(bigint, timestamptz) from public;
grant execute on function netd_token(text), netd_token_used(bigint, timestamptz) to netd_tenant;
