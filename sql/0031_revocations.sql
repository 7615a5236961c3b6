-- Certificates that are good no longer although they have not ended, for the lists (RFC 5280 5) that their authorities sign. A row outlives the device: for
-- whose certificate, else, nobody could say it any more.
create table certificate_revocations (
    id           bigint generated always as identity primary key,
    tenant_id    bigint not null references tenants,
    authority_id bigint not null,
    serial       text not null,                                                    -- hex
    subject      text not null,
    reason       text not null check (reason in ('unspecified', 'key_compromise', 'affiliation_changed', 'superseded', 'cessation_of_operation')),
    not_after    timestamptz not null,                                             -- the certificate's: no list names it afterwards
    revoked_at   timestamptz not null default now(),
    revoked_by   text not null,
    constraint certificate_revocations_once unique (authority_id, serial),
    foreign key (tenant_id, authority_id) references certificate_authorities (tenant_id, id)
);

-- How many lists an authority has signed: each has a number of its own, on whichever node it was made.
alter table certificate_authorities add column list_number bigint not null default 0;
create index certificate_authorities_fingerprint on certificate_authorities (fingerprint);

-- A device that is expected no longer has its certificate renewed no longer: it ends now.
create function netd_certificates_gone() returns trigger language plpgsql security definer set search_path from current as $$
begin
    insert into certificate_revocations (tenant_id, authority_id, serial, subject, reason, not_after, revoked_by)
    select tenant_id, authority_id, serial, subject, 'cessation_of_operation', not_after, 'netd' from old_rows where not_after > now()
    on conflict do nothing;
    return null;
end $$;
create trigger gone after delete on certificates referencing old table as old_rows for each statement execute function netd_certificates_gone();

alter table certificate_revocations enable row level security;
create policy tenant on certificate_revocations to netd_tenant using (tenant_id = (select netd_scope_tenant()));
create policy site on certificate_revocations as restrictive to netd_tenant
    using ((select netd_scope_whole()) or exists (select from certificates c where c.authority_id = certificate_revocations.authority_id
                                                  and c.serial = certificate_revocations.serial));
create policy own on certificate_revocations as restrictive for select to netd_tenant using ((select netd_scope_subscriber()) is null);
grant select, insert on certificate_revocations to netd_tenant;
