-- A tenant has a version as everything has that can be changed, so that of two who change it at once one is told.
alter table tenants add column version integer not null default 1;
