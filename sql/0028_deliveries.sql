-- Who said of a device that it may boot, or made the rule that lets it in, does not manage devices of the whole tenant: what is sent to it is chosen with
-- care, as with devices.site_addressed.
alter table ztp_devices add column site_addressed boolean not null default false;
alter table ztp_rules add column site_addressed boolean not null default false;

-- An image that comes into the library, or leaves it, is told to the devices that should run it: nodes know those by heart.
create function netd_ztp_image() returns trigger language plpgsql security definer as $$
begin
    update ztp_devices z set updated_at = now() from changed c
        where z.tenant_id = c.tenant_id and z.platform = c.platform and z.target_version = c.software_version and z.state <> 'verified';
    return null;
end $$;
alter function netd_ztp_image() set search_path from current;
create trigger ztp_i after insert on software_images referencing new table as changed for each statement execute function netd_ztp_image();
create trigger ztp_d after delete on software_images referencing old table as changed for each statement execute function netd_ztp_image();

-- What is known of a file's delivery, so that a lost acknowledgement or a crash leaves no device between two steps. A first password belongs to the device's
-- generation, which only an operator, or an end of service, raises; a token's own generation is its address', and another one voids none.
alter table ztp_devices
    add column sent_generation integer,                                            -- of the password in the file that it was last sent
    add column delivered_at    timestamptz,                                        -- when it last had a file whole that it goes on from
    add column presumed_at     timestamptz,                                        -- since when it is taken to have its file, though nobody said so
    add column typed_at        timestamptz;                                        -- when it last got its configuration by its command line
alter table ztp_tokens
    add column configures      boolean not null default false,                     -- its file makes the first account
    add column asked_at        timestamptz,                                        -- when it was last asked for
    add column sending         integer not null default 0,                         -- answers that began and of whose end nothing is known
    add column sent_at         timestamptz;                                        -- since when all octets have been on the way once
