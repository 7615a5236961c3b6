-- Accounting that waited in a node's journal while the database was away, and how much of it is in the tables.

-- The database's own name: a journal belongs to one database, and is never replayed into another, where its ids would mean other people.
create table database_identity (
    only_one boolean primary key default true check (only_one),
    id       uuid not null default gen_random_uuid()
);
insert into database_identity default values;

-- One row per journal that is being replayed. Written in the transaction that writes the records themselves: so each is applied exactly once.
create table accounting_journals (
    journal_id  uuid primary key,                                              -- made with the journal; never used again
    node        text not null,                                                 -- host name, for people
    sequence    bigint not null check (sequence >= 0),                         -- the last of its records that is in the tables
    replayed_at timestamptz not null default now()
);
