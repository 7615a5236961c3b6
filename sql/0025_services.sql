-- A device that boots may be a subscriber's: it boots while the subscriber has service, and its configuration follows the subscriber and its plan.
-- A subscriber that is deleted takes what was expected for it along: nothing that was bound to it boots unbound.
alter table ztp_devices
    add column subscriber_id      bigint,
    add column armed              boolean not null default true,                   -- what was last told of whether it may boot
    add column service            bytea,                                           -- a digest of what of its subscriber it was last configured with
    add column service_at         timestamptz,                                     -- when that was begun
    add column verify             text not null default 'facts' check (verify in ('facts', 'reach')),
    add column certificate        text check (certificate in ('ec', 'rsa')),
    add column certificate_folder text check (length(certificate_folder) between 1 and 200),
    add constraint ztp_devices_subscriber foreign key (tenant_id, subscriber_id) references subscribers (tenant_id, id) on delete cascade;
create index ztp_devices_subscriber_id on ztp_devices (subscriber_id) where subscriber_id is not null;
alter table devices
    add column subscriber_id bigint,
    add constraint devices_subscriber foreign key (tenant_id, subscriber_id) references subscribers (tenant_id, id) on delete set null (subscriber_id);
create index devices_subscriber_id on devices (subscriber_id) where subscriber_id is not null;

-- Who is in service: pending has none yet, terminated none any more. Suspended is for a while, and the device stays what it is.
create function netd_ztp_serves(of_tenant bigint, of_subscriber bigint) returns boolean language sql stable as $$
    select of_subscriber is null
        or exists (select from subscribers where tenant_id = of_tenant and id = of_subscriber and state in ('active', 'suspended'))
$$;

-- A tenant's certification authorities: the newest one signs.
create table certificate_authorities (
    id          bigint generated always as identity primary key,
    tenant_id   bigint not null references tenants,
    subject     text not null,
    supplied    boolean not null,                                                  -- an operator's, not netd's own
    certificate text not null,                                                     -- PEM
    key         bytea not null,                                                    -- sealed: PEM
    serial      text not null,
    fingerprint text not null,                                                     -- SHA-256, hex
    not_before  timestamptz not null,
    not_after   timestamptz not null,
    created_by  text not null,
    created_at  timestamptz not null default now(),
    unique (tenant_id, id)
);

-- Certificates of devices. The key of one stays, sealed, as long as it is the device's: a configuration that is rendered again says it again.
create table certificates (
    id            bigint generated always as identity primary key,
    tenant_id     bigint not null references tenants,
    ztp_device_id bigint not null,
    authority_id  bigint not null,
    subject       text not null,
    names         text[] not null,                                                 -- names and addresses that it is for
    algorithm     text not null check (algorithm in ('ec', 'rsa')),
    certificate   text not null,                                                   -- PEM
    key           bytea,                                                           -- sealed: PEM; null: another has taken its place
    serial        text not null,
    fingerprint   text not null,
    not_before    timestamptz not null,
    not_after     timestamptz not null,
    installed_at  timestamptz,
    replaced_at   timestamptz,
    created_at    timestamptz not null default now(),
    unique (tenant_id, id),
    foreign key (tenant_id, ztp_device_id) references ztp_devices (tenant_id, id) on delete cascade,
    foreign key (tenant_id, authority_id) references certificate_authorities (tenant_id, id)
);
create index certificates_device on certificates (ztp_device_id, id);
create index certificates_authority on certificates (authority_id);
create index certificates_ends on certificates (not_after) where replaced_at is null;

do $$
declare
    t text;
begin
    foreach t in array array['certificate_authorities', 'certificates'] loop
        execute format('alter table %I enable row level security', t);
        execute format('create policy tenant on %I to netd_tenant using (tenant_id = (select netd_scope_tenant()))', t);
    end loop;
    grant select, insert on certificate_authorities to netd_tenant;
    grant select on certificates to netd_tenant;
    create policy own on certificate_authorities as restrictive for select to netd_tenant using ((select netd_scope_subscriber()) is null);
    create policy whole_i on certificate_authorities as restrictive for insert to netd_tenant with check ((select netd_scope_whole()));
    create policy site on certificates as restrictive to netd_tenant
        using ((select netd_scope_whole()) or exists (select from ztp_devices d where d.id = ztp_device_id));
end $$;

-- Whether a device that is expected from now on is there already.
create index devices_serial on devices (tenant_id, upper(observed -> 'serial' ->> 'value'));
