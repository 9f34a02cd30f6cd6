import type pg from 'pg';

/**
 * DDL is not in the logical stream. These event triggers put a message into the transaction that ran it: OIDs of relations that it
 * made, `=` and OIDs of those that it filled or indexed, which changes nothing in the catalog that matters (none for what was temporary), or `*` for everything else. The function
 * works for any role, with any search_path, also where roles may not emit messages, and swallows its own errors: DDL of users never fails because of
 * it. ENABLE ALWAYS, for otherwise session_replication_role = replica would silence it.
 */
const INSTALL = `
CREATE OR REPLACE FUNCTION fairlead.mark_ddl() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $mark$
DECLARE
  mark text;
BEGIN
  BEGIN
    IF tg_event = 'sql_drop' THEN
      SELECT CASE WHEN bool_and(object_type = 'index') THEN string_agg(objid::text, ',') ELSE '*' END INTO mark
      FROM pg_event_trigger_dropped_objects() WHERE original AND NOT is_temporary HAVING count(*) > 0;
    ELSIF tg_tag IN ('REASSIGN OWNED', 'DROP OWNED') THEN
      mark := '*';
    ELSE
      SELECT CASE WHEN bool_and(command_tag IN ('CREATE INDEX', 'REFRESH MATERIALIZED VIEW')) THEN '=' ELSE '' END || CASE WHEN count(*) < 1000 AND bool_and(classid = 'pg_class'::regclass AND command_tag IN ('CREATE TABLE',
          'CREATE TABLE AS', 'SELECT INTO', 'CREATE INDEX', 'CREATE SEQUENCE', 'CREATE MATERIALIZED VIEW',
          'REFRESH MATERIALIZED VIEW'))
        THEN string_agg(objid::text, ',') ELSE '*' END INTO mark
      FROM pg_event_trigger_ddl_commands() WHERE schema_name IS DISTINCT FROM 'pg_temp' HAVING count(*) > 0;
    END IF;
  EXCEPTION WHEN OTHERS THEN
    mark := '*';
  END;
  PERFORM pg_logical_emit_message(true, 'fairlead.ddl', coalesce(mark, '='));
EXCEPTION WHEN OTHERS THEN
  RAISE DEBUG 'fairlead: DDL not marked: %', SQLERRM;
END
$mark$;
REVOKE ALL ON FUNCTION fairlead.mark_ddl() FROM PUBLIC;
DO $install$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = 'fairlead_ddl_end') THEN
    CREATE EVENT TRIGGER fairlead_ddl_end ON ddl_command_end EXECUTE FUNCTION fairlead.mark_ddl();
  END IF;
  IF NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = 'fairlead_sql_drop') THEN
    CREATE EVENT TRIGGER fairlead_sql_drop ON sql_drop EXECUTE FUNCTION fairlead.mark_ddl();
  END IF;
END
$install$;
ALTER EVENT TRIGGER fairlead_ddl_end ENABLE ALWAYS;
ALTER EVENT TRIGGER fairlead_sql_drop ENABLE ALWAYS;
`;

const PRESENT = `SELECT
  (SELECT count(*) FROM pg_event_trigger WHERE evtname IN ('fairlead_ddl_end', 'fairlead_sql_drop') AND evtenabled = 'A') = 2
    AND coalesce((SELECT md5(prosrc) = md5($1) FROM pg_proc WHERE oid = to_regproc('fairlead.mark_ddl')), false) AS present,
  (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser`;

/**
 * Installs or renews the triggers. PostgreSQL lets superusers only make event triggers.
 * @returns `installed`, `present` when there was nothing to do, `forbidden` when the role may not
 */
export async function installDdlMarks(client: pg.ClientBase): Promise<'installed' | 'present' | 'forbidden'> {
  const body = /\$mark\$([\s\S]*)\$mark\$/.exec(INSTALL)?.[1] as string;
  const { rows } = await client.query<{ present: boolean; superuser: boolean }>(PRESENT, [body]);
  if (rows[0]?.present) return 'present';
  if (!rows[0]?.superuser) return 'forbidden';
  // one simple query with several statements is one transaction
  await client.query(INSTALL);
  return 'installed';
}
