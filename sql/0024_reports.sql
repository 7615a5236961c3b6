-- Files that jobs make: reports. In pieces, so that nobody has a whole one in memory, and in the database, so that each node can give what another made.
--
-- Pieces are written one by one under the fence of the job's claim; the row of job_files comes last and names the fence whose pieces are the file.

create table job_files (
    job_id     bigint primary key,
    tenant_id  bigint not null,
    fence      bigint not null,
    name       text not null check (length(name) between 1 and 255),
    media_type text not null,
    permission text not null,                                                       -- what is in it needs this one to be seen
    octets     bigint not null check (octets >= 0),
    made_at    timestamptz not null default now(),
    foreign key (tenant_id, job_id) references jobs (tenant_id, id) on delete cascade
);

create table job_file_parts (
    tenant_id bigint not null,
    job_id    bigint not null,
    fence     bigint not null,
    number    integer not null check (number >= 0),
    data      bytea not null,
    primary key (job_id, fence, number),
    foreign key (tenant_id, job_id) references jobs (tenant_id, id) on delete cascade
);
alter table job_file_parts alter column data set storage external;                  -- most of it is compressed already

do $$
declare
    t text;
begin
    foreach t in array array['job_files', 'job_file_parts'] loop
        execute format('alter table %I enable row level security', t);
        execute format('create policy tenant on %I to netd_tenant using (tenant_id = (select netd_scope_tenant()))', t);
        execute format($f$create policy site on %I as restrictive to netd_tenant
            using ((select netd_scope_whole()) or exists (select from jobs j where j.id = job_id))$f$, t);
        execute format('grant select on %I to netd_tenant', t);
    end loop;
end $$;
