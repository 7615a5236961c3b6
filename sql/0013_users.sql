-- People: users with grants of roles, their sessions, and who failed to log in. What a user may is the union of the grants; it is looked up with
-- every request, so a change holds from the next one on.

create table users (
    id                  bigint generated always as identity primary key,
    tenant_id           bigint not null references tenants,
    name                text not null check (name ~ '^[a-z0-9][a-z0-9._@+-]{0,62}$'),
    full_name           text check (length(full_name) between 1 and 64),
    email               text check (length(email) between 3 and 254),
    password_hash       text,                                                    -- argon2id
    password_changed_at timestamptz,
    setup_hash          bytea,                                                   -- SHA-256 of what lets the user set a password, once
    setup_expires_at    timestamptz,
    totp_secret         bytea,                                                   -- sealed; counts once confirmed
    totp_confirmed_at   timestamptz,
    totp_last_step      bigint,                                                  -- the newest time step of which a code was used
    oidc_issuer         text,
    oidc_subject        text,
    disabled_at         timestamptz,
    last_login_at       timestamptz,
    created_by          text not null,
    version             integer not null default 1,
    created_at          timestamptz not null default now(),
    updated_at          timestamptz not null default now(),
    unique (tenant_id, id),
    constraint users_name unique (tenant_id, name),
    check ((oidc_issuer is null) = (oidc_subject is null)),
    check ((setup_hash is null) = (setup_expires_at is null))
);
create unique index users_oidc on users (tenant_id, oidc_issuer, oidc_subject) where oidc_subject is not null;

create table user_recovery_codes (
    tenant_id bigint not null references tenants,
    user_id   bigint not null,
    code_hash bytea not null,                                                    -- SHA-256; a code has 80 random bits, and its row goes with its use
    primary key (user_id, code_hash),
    foreign key (tenant_id, user_id) references users (tenant_id, id) on delete cascade
);

create table user_grants (
    id              bigint generated always as identity primary key,
    tenant_id       bigint not null references tenants,
    user_id         bigint not null,
    role            text not null,
    organization_id bigint,
    site_id         bigint,
    source          text not null default 'local' check (source in ('local', 'oidc')),  -- oidc: of a group, taken anew at each log-in
    created_by      text not null,
    created_at      timestamptz not null default now(),
    foreign key (tenant_id, user_id) references users (tenant_id, id) on delete cascade,
    constraint user_grants_role foreign key (tenant_id, role) references roles (tenant_id, name) on update cascade,
    constraint user_grants_organization foreign key (tenant_id, organization_id) references organizations (tenant_id, id),
    constraint user_grants_site foreign key (tenant_id, site_id) references sites (tenant_id, id),
    check (num_nonnulls(organization_id, site_id) <= 1),
    constraint user_grants_once unique nulls not distinct (user_id, role, organization_id, site_id, source)
);
create index user_grants_role on user_grants (tenant_id, role);

create table user_sessions (
    id           bigint generated always as identity primary key,
    tenant_id    bigint not null references tenants,
    user_id      bigint not null,
    token_hash   bytea not null unique,                                          -- SHA-256 of the cookie's 256 random bits
    method       text not null check (method in ('password', 'totp', 'recovery_code', 'oidc')),
    network      text not null,                                                  -- the address logged in from; of IPv6 the /64
    address      text,
    user_agent   text,
    created_at   timestamptz not null,
    last_used_at timestamptz not null,
    expires_at   timestamptz not null,
    ended_at     timestamptz,
    foreign key (tenant_id, user_id) references users (tenant_id, id) on delete cascade
);
create index user_sessions_user on user_sessions (user_id, network);
create index user_sessions_expires on user_sessions (tenant_id, expires_at);

-- Log-ins that failed, counted by what is guessed at and by where it comes from. A name that nobody has is kept as a hash only: it may be a
-- password that was typed into the wrong field.
create table login_failures (
    id           bigint generated always as identity primary key,
    tenant_id    bigint not null references tenants,
    kind         text not null check (kind in ('user', 'user_at_address', 'address')),
    key          bytea not null,
    subject      text,                                                           -- the user's name, or the address; null: a name that nobody has
    failures     integer not null,
    failed_at    timestamptz not null,
    locked_until timestamptz,
    unique (tenant_id, kind, key)
);
create index login_failures_failed on login_failures (tenant_id, failed_at);

-- A user's session may send Idempotency-Keys, too: token_id is then minus the user's id.
alter table idempotency_keys drop constraint idempotency_keys_token_id_fkey;

create function netd_tenant_named(wanted text) returns bigint language sql stable security definer as $$
    select id from tenants where name = wanted
$$;

-- Whose session a cookie is and what it may, asked before it is known for which tenant; the answer opens nothing without the cookie.
create function netd_user_session(wanted bytea) returns table (
    id bigint, tenant_id bigint, user_id bigint, name text, method text, totp boolean, last_used_at timestamptz, expires_at timestamptz, grants jsonb
) language sql stable security definer as $$
    select s.id, s.tenant_id, s.user_id, u.name, s.method, u.totp_confirmed_at is not null, s.last_used_at, s.expires_at,
        coalesce((
            select jsonb_agg(jsonb_build_object('role', g.role, 'built_in', r.built_in, 'permissions', r.permissions, 'sites', case
                when g.site_id is not null then to_jsonb(array[g.site_id]) when g.organization_id is not null then to_jsonb(netd_sites_of(g.organization_id)) end)
                order by g.id)
            from user_grants g join roles r on r.tenant_id = g.tenant_id and r.name = g.role
            where g.user_id = u.id), '[]')
    from user_sessions s join users u on u.id = s.user_id
    where s.token_hash = wanted and s.ended_at is null and u.disabled_at is null
$$;

create function netd_user_session_used(wanted bigint, at timestamptz) returns void language sql security definer as $$
    update user_sessions set last_used_at = greatest(last_used_at, at) where id = wanted
$$;

alter function netd_tenant_named(text) set search_path from current;
alter function netd_user_session(bytea) set search_path from current;
alter function netd_user_session_used(bigint, timestamptz) set search_path from current;
revoke execute on function netd_tenant_named(text), netd_user_session(bytea), netd_user_session_used(bigint, timestamptz) from public;
grant execute on function netd_tenant_named(text), netd_user_session(bytea), netd_user_session_used(bigint, timestamptz) to netd_tenant;

do $$
declare
    t text;
begin
    foreach t in array array['users', 'user_recovery_codes', 'user_grants', 'user_sessions', 'login_failures'] loop
        execute format('grant select, insert, update, delete on %I to netd_tenant', t);
        execute format('alter table %I enable row level security', t);
        execute format('create policy tenant on %I to netd_tenant using (tenant_id = (select netd_scope_tenant()))', t);
        execute format('create policy whole on %I as restrictive to netd_tenant using ((select netd_scope_whole()))', t);
    end loop;
end $$;
