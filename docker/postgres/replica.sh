#!/bin/bash
# Entry point of a replica: a copy of the primary at the first start, afterwards what is there already.
# NODE is its name in the cluster, PRIMARY the host to copy from.
set -euo pipefail

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  mkdir -p "$PGDATA"
  # a slot of its own, left from a copy that was interrupted, must not be in the way
  PGPASSWORD=$FAIRLEAD_PASSWORD psql -h "$PRIMARY" -U fairlead -d postgres -v ON_ERROR_STOP=1 -v slot="$NODE" -qAt <<'SQL'
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = :'slot' AND NOT active;
SQL
  find "$PGDATA" -mindepth 1 -delete
  pg_basebackup -d "host=$PRIMARY user=fairlead password=$FAIRLEAD_PASSWORD application_name=$NODE" \
    -D "$PGDATA" -R -X stream -C -S "$NODE" -c fast
  chown -R postgres:postgres "$PGDATA"
  chmod 700 "$PGDATA"
fi
exec docker-entrypoint.sh postgres
