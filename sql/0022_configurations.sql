-- What devices are configured as: versions of it, whether it is what was approved, saved and intended; templates; software images and who should run which.
--
-- Texts are kept sealed and compressed, each once for a tenant. They are told apart by an HMAC under a key of the tenant's that is sealed itself: a plain
-- hash in a stolen dump would let anybody try passwords on it.

create table configuration_keys (
    id        bigint generated always as identity primary key,
    tenant_id bigint not null unique references tenants,
    secret    bytea not null                                                        -- sealed
);

create table configuration_texts (
    id        bigint generated always as identity primary key,
    tenant_id bigint not null references tenants,
    digest    bytea not null check (length(digest) = 32),
    octets    integer not null,
    sealed    bytea not null,
    unique (tenant_id, digest),
    unique (tenant_id, id)
);

create table configurations (
    id            bigint generated always as identity primary key,
    tenant_id     bigint not null,
    device_id     bigint not null,
    which         text not null check (which in ('running', 'startup')),
    number        integer not null check (number > 0),                              -- of the device's, from 1
    text_id       bigint not null,
    normal        bytea not null check (length(normal) = 32),                       -- without what changes by itself: the same is no new version
    platform      text not null,                                                    -- whose driver knows what is secret in it
    lines         integer not null,
    octets        integer not null,
    source        text not null check (source in ('backup', 'before', 'after')),
    job_id        bigint,
    first_seen_at timestamptz not null,
    last_seen_at  timestamptz not null,
    approved_at   timestamptz,
    approved_by   text,
    approval_note text,
    unique (tenant_id, id),
    unique (device_id, which, number),
    foreign key (tenant_id, device_id) references devices (tenant_id, id) on delete cascade,
    foreign key (tenant_id, text_id) references configuration_texts (tenant_id, id)
);
create index configurations_tenant on configurations (tenant_id, id);
create index configurations_text on configurations (text_id);
create index configurations_approved on configurations (device_id, approved_at) where approved_at is not null;

-- How a device stands: the versions that it has now, and what it drifted from.
create table configuration_states (
    device_id    bigint primary key,
    tenant_id    bigint not null,
    running_id   bigint,
    startup_id   bigint,
    drift        text[] not null default '{}',                                      -- approved, saved, intended
    drifted_at   timestamptz,                                                       -- since when there is any
    intended     text,                                                              -- why it is not known what is intended
    tried_at     timestamptz,
    backed_up_at timestamptz,
    error        text,                                                              -- of the last attempt; null: it succeeded
    unique (tenant_id, device_id),
    foreign key (tenant_id, device_id) references devices (tenant_id, id) on delete cascade,
    foreign key (tenant_id, running_id) references configurations (tenant_id, id) on delete set null (running_id),
    foreign key (tenant_id, startup_id) references configurations (tenant_id, id) on delete set null (startup_id)
);
create index configuration_states_tenant on configuration_states (tenant_id, device_id);
create index configuration_states_running on configuration_states (running_id);
create index configuration_states_startup on configuration_states (startup_id);

-- Templates: of a role (at a site), or without a role for others to include. Every body that one ever had is kept.
create table configuration_templates (
    id         bigint generated always as identity primary key,
    tenant_id  bigint not null references tenants,
    name       text not null check (length(name) between 1 and 64),
    role       text check (length(role) between 1 and 64),
    site_id    bigint,
    purpose    text not null default 'configuration' check (purpose in ('configuration', 'boot')),
    compare    text not null default 'contains' check (compare in ('contains', 'whole', 'off')),
    body       text not null check (octet_length(body) <= 1048576),
    number     integer not null default 1,
    note       text,
    version    integer not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    check (site_id is null or role is not null),
    unique (tenant_id, id),
    constraint configuration_templates_site foreign key (tenant_id, site_id) references sites (tenant_id, id)
);
create unique index configuration_templates_name on configuration_templates (tenant_id, lower(name));
create unique index configuration_templates_role on configuration_templates (tenant_id, purpose, role, coalesce(site_id, 0)) where role is not null;

create table configuration_template_bodies (
    id          bigint generated always as identity primary key,
    tenant_id   bigint not null,
    template_id bigint not null,
    number      integer not null,
    body        text not null,
    created_by  text not null,
    created_at  timestamptz not null default now(),
    unique (template_id, number),
    foreign key (tenant_id, template_id) references configuration_templates (tenant_id, id) on delete cascade
);
create index configuration_template_bodies_tenant on configuration_template_bodies (tenant_id, id);

-- Variables of the tenant, a role, a site, or a role at a site; a device's own come last.
create table template_variables (
    id         bigint generated always as identity primary key,
    tenant_id  bigint not null references tenants,
    role       text check (length(role) between 1 and 64),
    site_id    bigint,
    variables  jsonb not null,
    note       text,
    version    integer not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (tenant_id, id),
    constraint template_variables_site foreign key (tenant_id, site_id) references sites (tenant_id, id)
);
create unique index template_variables_scope on template_variables (tenant_id, coalesce(role, ''), coalesce(site_id, 0));

-- Software images; the files lie in the data folder by their SHA-256.
create table software_images (
    id               bigint generated always as identity primary key,
    tenant_id        bigint not null references tenants,
    platform         text not null,
    software_version text not null check (length(software_version) between 1 and 64),
    file_name        text not null check (length(file_name) between 1 and 128),
    octets           bigint not null,
    sha256           text not null check (length(sha256) = 64),
    md5              text not null check (length(md5) = 32),
    note             text,
    created_by       text not null,
    version          integer not null default 1,
    created_at       timestamptz not null default now(),
    updated_at       timestamptz not null default now(),
    unique (tenant_id, id)
);
create unique index software_images_version on software_images (tenant_id, platform, software_version);

-- Which software devices of a platform, or of a model, should run, and why. A device's own target_version goes before.
create table software_targets (
    id               bigint generated always as identity primary key,
    tenant_id        bigint not null references tenants,
    platform         text not null,
    model            text check (length(model) between 1 and 253),
    software_version text not null check (length(software_version) between 1 and 64),
    reason           text not null check (length(reason) between 1 and 1000),
    version          integer not null default 1,
    created_at       timestamptz not null default now(),
    updated_at       timestamptz not null default now(),
    unique (tenant_id, id)
);
create unique index software_targets_scope on software_targets (tenant_id, platform, coalesce(model, ''));

do $$
declare
    t text;
begin
    foreach t in array array['configurations', 'configuration_states', 'configuration_texts', 'configuration_templates', 'configuration_template_bodies',
                             'template_variables', 'software_images', 'software_targets'] loop
        execute format('alter table %I enable row level security', t);
        execute format('create policy tenant on %I to netd_tenant using (tenant_id = (select netd_scope_tenant()))', t);
    end loop;
    alter table configuration_keys enable row level security;                       -- netd's own: nobody else reads it
    grant select, update on configurations to netd_tenant;
    grant select, insert, update on configuration_states to netd_tenant;
    grant select on configuration_texts to netd_tenant;
    grant select, insert on configuration_template_bodies to netd_tenant;
    foreach t in array array['configuration_templates', 'template_variables', 'software_images', 'software_targets'] loop
        execute format('grant select, insert, update, delete on %I to netd_tenant', t);
    end loop;
    foreach t in array array['configurations', 'configuration_states'] loop
        execute format($f$create policy site on %I as restrictive to netd_tenant
            using ((select netd_scope_whole()) or exists (select from devices d where d.id = device_id))$f$, t);
    end loop;
    execute $f$create policy site on configuration_texts as restrictive to netd_tenant
        using ((select netd_scope_whole()) or exists (select from configurations c where c.text_id = configuration_texts.id))$f$;
    -- A site sees its own templates and the tenant's, and changes its own.
    foreach t in array array['configuration_templates', 'template_variables'] loop
        execute format($f$create policy site on %I as restrictive to netd_tenant
            using ((select netd_scope_whole()) or ((select netd_scope_subscriber()) is null
                and (site_id is null or site_id = any((select netd_scope_sites())::bigint[]))))$f$, t);
        execute format($f$create policy site_i on %I as restrictive for insert to netd_tenant
            with check ((select netd_scope_whole()) or site_id = any((select netd_scope_sites())::bigint[]))$f$, t);
        execute format($f$create policy site_u on %I as restrictive for update to netd_tenant
            using ((select netd_scope_whole()) or site_id = any((select netd_scope_sites())::bigint[]))$f$, t);
        execute format($f$create policy site_d on %I as restrictive for delete to netd_tenant
            using ((select netd_scope_whole()) or site_id = any((select netd_scope_sites())::bigint[]))$f$, t);
    end loop;
    execute $f$create policy site on configuration_template_bodies as restrictive to netd_tenant
        using ((select netd_scope_whole()) or exists (select from configuration_templates p where p.id = template_id))$f$;
    foreach t in array array['software_images', 'software_targets'] loop
        execute format('create policy own on %I as restrictive for select to netd_tenant using ((select netd_scope_subscriber()) is null)', t);
        execute format('create policy whole_i on %I as restrictive for insert to netd_tenant with check ((select netd_scope_whole()))', t);
        execute format('create policy whole_u on %I as restrictive for update to netd_tenant using ((select netd_scope_whole()))', t);
        execute format('create policy whole_d on %I as restrictive for delete to netd_tenant using ((select netd_scope_whole()))', t);
    end loop;
end $$;

-- A tenant's devices are backed up once a day, from the first device on; who does not want that disables or removes the schedule, and it does not come back.
create table configuration_schedules (
    tenant_id bigint primary key references tenants
);
alter table configuration_schedules enable row level security;                      -- netd's own
create function netd_backup_schedule(tenant bigint) returns void language plpgsql security definer as $$
begin
    insert into configuration_schedules values (tenant) on conflict do nothing;
    if found then
        insert into job_schedules (tenant_id, name, kind, args, cron, jitter_seconds, begins_at, due_at, fires_at, note, created_by, person, trusted)
        select tenant, 'configuration backup', 'config.backup', '{"selector": {}}', '0 2 * * *', 3600, now(), t.at, t.at, 'made by netd', 'netd', 'netd', true
        from (select date_trunc('day', now() at time zone 'UTC') at time zone 'UTC' + interval '26 hours' as at) t
        on conflict do nothing;
    end if;
end $$;
alter function netd_backup_schedule(bigint) set search_path from current;
revoke execute on function netd_backup_schedule(bigint) from public;
create function netd_device_made() returns trigger language plpgsql security definer as $$
begin
    perform netd_backup_schedule(new.tenant_id);
    return new;
end $$;
alter function netd_device_made() set search_path from current;
create trigger devices_backup after insert on devices for each row execute function netd_device_made();
select netd_backup_schedule(tenant_id) from (select distinct tenant_id from devices) t;
