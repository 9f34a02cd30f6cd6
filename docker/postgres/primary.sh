#!/bin/bash
# Run once by the postgres image, in the new primary: roles, and who may connect for replication.
set -euo pipefail

psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
  -v control_password="$FAIRLEAD_PASSWORD" -v app_password="$APP_PASSWORD" <<'SQL'
-- a superuser, so that Fairlead can point replicas elsewhere on every version; docs tell the least privileges
CREATE ROLE fairlead LOGIN REPLICATION SUPERUSER PASSWORD :'control_password';
CREATE ROLE app LOGIN PASSWORD :'app_password';
CREATE DATABASE app OWNER app;
SQL

# any node may become the source of the others
echo 'host replication all all scram-sha-256' >> "$PGDATA/pg_hba.conf"

cat >> "$PGDATA/postgresql.conf" <<'SETTINGS'

wal_level = logical
max_wal_senders = 20
max_replication_slots = 20
max_connections = 200
# a replica that never comes back must not fill the disk
max_slot_wal_keep_size = 1GB
wal_keep_size = 128MB
wal_log_hints = on
hot_standby = on
hot_standby_feedback = on
wal_receiver_timeout = 2s
wal_receiver_status_interval = 1s
wal_retrieve_retry_interval = 200ms
SETTINGS
