-- What moving in from another RADIUS server needs: reply attributes of a plan, plans that send nothing else ("raw"), attributes taken away
-- from what the plan grants (!*), and passwords of which only a hash is known.

alter table plans
    add column raw     boolean not null default false,                          -- grants its replies and nothing that a driver says
    add column replies jsonb not null default '[]' check (jsonb_typeof(replies) = 'array');  -- [{attribute, op, value}], in order

alter table subscribers add column password_hashed boolean not null default false;  -- password is sealed {scheme}digest, not the password itself

alter table radreply drop constraint radreply_op_check;
alter table radreply add constraint radreply_op_check check (op in ('=', ':=', '+=', '!*'));

-- Whether anybody has exactly this prefix: addresses are one space for all tenants, and this tells no more than that.
create function netd_nas_address_taken(wanted cidr) returns boolean language sql stable security definer set search_path from current as $$
    select exists (select from nas where nasname = wanted)
$$;
revoke execute on function netd_nas_address_taken(cidr) from public;
grant execute on function netd_nas_address_taken(cidr) to netd_tenant;
