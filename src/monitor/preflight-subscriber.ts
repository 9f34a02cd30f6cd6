import type { ControlConnection } from '../backend/control-connection.ts';
import type { Config } from '../config/config.ts';
import { messageOf } from '../core/errors.ts';
import { type Finding, fine, problem, warning } from './finding.ts';
import { positionSql, type SubscriberRow, subscriberSql } from './subscriber-probe.ts';

/** What would keep reads away from a logical subscriber for good. @throws ControlError when it does not answer */
export async function judgeSubscriber(
  connection: ControlConnection,
  subscription: string,
  config: Config,
): Promise<Finding[]> {
  const { name } = connection.target;
  const { database, user } = config.cluster;
  const [server] = await connection.query<{ version: number; text: string }>(
    "SELECT current_setting('server_version_num')::int AS version, current_setting('server_version') AS text",
  );
  if (server === undefined) throw new Error('no answer');
  const [row] = await connection.query<SubscriberRow>(subscriberSql(subscription, server.version));
  if (row === undefined || row.subscription === null) {
    const text = `there is no subscription ${subscription} in database ${database}`;
    return [problem(name, text, `CREATE SUBSCRIPTION ${subscription} CONNECTION '…' PUBLICATION …`)];
  }
  const findings = [fine(name, `PostgreSQL ${server.text}, subscriber`)];
  if (row.in_recovery) findings.push(problem(name, 'it is a replica', 'leave out subscription, or name its primary'));
  if (!row.enabled)
    findings.push(
      warning(name, `subscription ${subscription} is disabled`, `ALTER SUBSCRIPTION ${subscription} ENABLE`),
    );
  try {
    await connection.query(positionSql(subscription));
  } catch (error) {
    const grant = `GRANT EXECUTE ON FUNCTION pg_replication_origin_progress(text, boolean) TO "${user}"`;
    findings.push(problem(name, `its position may not be asked for: ${messageOf(error)}`, grant));
  }
  return findings;
}
