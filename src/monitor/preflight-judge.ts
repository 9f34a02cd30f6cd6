import { type Config, followsOthers, type NodeConfig } from '../config/config.ts';
import { type Finding, fine, problem, warning } from './finding.ts';
import { ALTERED_SETTINGS, type NodeFacts } from './preflight-facts.ts';

/** Oldest server that streams, repoints and probes as Fairlead needs it. */
const OLDEST_VERSION = 130_000;

/** First minor versions in which no backend skips the wait for synchronous standbys after a start (release notes of 2025-05-08). */
const WAITS_ALWAYS = [130_021, 140_018, 150_013, 160_009, 170_005];

/** Everything about one node on its own. Pure. Grants are run on the primary and replicate. */
export function judgeNode(node: NodeConfig, facts: NodeFacts, config: Config): Finding[] {
  const findings: Finding[] = [];
  const { name } = node;
  const role = `"${config.cluster.user.replaceAll('"', '""')}"`;
  const failover = !followsOthers(config);
  if (facts.version < OLDEST_VERSION) {
    findings.push(problem(name, `PostgreSQL ${facts.version_text} is too old`, 'upgrade to PostgreSQL 13 or newer'));
  }
  if (facts.wal_level === 'minimal' || (facts.in_recovery === false && facts.wal_level === 'replica')) {
    const message = `wal_level is ${facts.wal_level}: commits are polled, lag in milliseconds is less exact`;
    findings.push(warning(name, message, "ALTER SYSTEM SET wal_level = 'logical'; then restart"));
  }
  // this node's replicas after a promotion, the stream, and one to spare for base backups
  const senders = Object.keys(config.cluster.nodes).length + 2;
  if (facts.max_wal_senders < senders) {
    findings.push(
      warning(
        name,
        `max_wal_senders is ${facts.max_wal_senders}`,
        `ALTER SYSTEM SET max_wal_senders = ${senders}; then restart`,
      ),
    );
  }
  if (facts.max_replication_slots < senders) {
    const fix = `ALTER SYSTEM SET max_replication_slots = ${senders}; then restart`;
    findings.push(warning(name, `max_replication_slots is ${facts.max_replication_slots}`, fix));
  } else if (facts.used_slots >= facts.max_replication_slots) {
    const fix = `ALTER SYSTEM SET max_replication_slots = ${facts.used_slots + senders}; then restart`;
    findings.push(problem(name, `all ${facts.used_slots} replication slots are in use`, fix));
  }
  if (facts.password_encryption !== 'scram-sha-256' && !facts.in_recovery) {
    const fix = "ALTER SYSTEM SET password_encryption = 'scram-sha-256'; reload, and set the passwords again";
    findings.push(warning(name, `password_encryption is ${facts.password_encryption}`, fix));
  }
  if (facts.in_recovery && failover && facts.wal_receiver_timeout_ms > Math.max(60_000, config.failover.timeout)) {
    const fix = `ALTER SYSTEM SET wal_receiver_timeout = '${Math.round(config.failover.timeout)}ms'; SELECT pg_reload_conf()`;
    const ms = facts.wal_receiver_timeout_ms;
    findings.push(warning(name, `wal_receiver_timeout is ${ms} ms, far above failover.timeout`, fix));
  }
  if (facts.in_recovery && !facts.receiver_present) {
    const fix = 'set primary_conninfo and reload; look into the server log for the reason';
    findings.push(problem(name, 'the replica does not stream: it has no WAL receiver', fix));
  } else if (facts.in_recovery && facts.receiver_status !== null && facts.receiver_status !== 'streaming') {
    findings.push(
      warning(name, `the WAL receiver is ${facts.receiver_status}`, 'look into the server log for the reason'),
    );
  }
  if (!facts.replication) findings.push(problem(name, 'the role may not replicate', `ALTER ROLE ${role} REPLICATION`));
  if (!facts.reads_stats)
    findings.push(problem(name, 'the role may not see WAL receivers', `GRANT pg_monitor TO ${role}`));
  if (facts.decoding === 'missing') {
    findings.push(
      warning(name, 'output plugin test_decoding is missing: commits are polled', 'install postgresql-contrib'),
    );
  }
  if (failover) findings.push(...judgeFailover(name, role, facts));
  const waitsAlways = WAITS_ALWAYS.find(
    (version) => Math.floor(version / 10_000) === Math.floor(facts.version / 10_000),
  );
  if (config.replication.mode !== 'async' && waitsAlways !== undefined && facts.version < waitsAlways) {
    const message = `PostgreSQL ${facts.version_text} may skip synchronous replication shortly after a start`;
    findings.push(warning(name, message, `upgrade to ${Math.floor(waitsAlways / 10_000)}.${waitsAlways % 10_000}`));
  }
  return findings;
}

function judgeFailover(name: string, role: string, facts: NodeFacts): Finding[] {
  const findings: Finding[] = [];
  if (!facts.may_promote) {
    findings.push(
      problem(name, 'the role may not promote', `GRANT EXECUTE ON FUNCTION pg_promote(boolean, integer) TO ${role}`),
    );
  }
  if (!facts.may_reload) {
    findings.push(problem(name, 'the role may not reload', `GRANT EXECUTE ON FUNCTION pg_reload_conf() TO ${role}`));
  }
  if (!facts.may_signal)
    findings.push(warning(name, 'the role may not end sessions', `GRANT pg_signal_backend TO ${role}`));
  if (!facts.reads_settings) {
    findings.push(problem(name, 'the role may not read primary_conninfo', `GRANT pg_read_all_settings TO ${role}`));
  }
  if (!facts.may_alter_system) {
    const fix =
      facts.version >= 150_000
        ? `GRANT ALTER SYSTEM ON PARAMETER ${ALTERED_SETTINGS.join(', ')} TO ${role}`
        : `ALTER ROLE ${role} SUPERUSER`;
    findings.push(problem(name, 'the role may not point replicas to a new primary (ALTER SYSTEM)', fix));
  }
  return findings;
}

/** Everything about the nodes together. Pure. */
export function judgeCluster(
  nodes: readonly NodeConfig[],
  facts: ReadonlyMap<string, NodeFacts>,
  config: Config,
): Finding[] {
  const findings: Finding[] = [];
  const known = [...facts.entries()];
  if (known.length === 0) return findings;
  const primaries = known.filter(([, f]) => !f.in_recovery);
  const replicas = known.filter(([, f]) => f.in_recovery);
  if (primaries.length === 0) {
    findings.push(
      problem(null, 'no node is a primary', 'start it, or SELECT pg_promote() on the replica that shall be'),
    );
  }
  if (primaries.length > 1) {
    const names = primaries.map(([name]) => name).join(' and ');
    findings.push(
      problem(
        null,
        `${names} are both primaries`,
        'rebuild the wrong one as a replica, or take it out of cluster.nodes',
      ),
    );
  }
  const systems = new Set(known.map(([, f]) => f.system_id));
  if (systems.size > 1) {
    const list = known.map(([name, f]) => `${name} ${f.system_id}`).join(', ');
    findings.push(
      problem(
        null,
        `the nodes are of different clusters: ${list}`,
        'build every replica from a base backup of the primary',
      ),
    );
  }
  if (new Set(known.map(([, f]) => Math.floor(f.version / 10_000))).size > 1) {
    findings.push(
      problem(null, 'the nodes run different major versions', 'physical replication needs one major version'),
    );
  }
  if (nodes.length === 1) {
    findings.push(
      warning(null, 'one node only: no reads are moved and nothing can be promoted', 'add a replica to cluster.nodes'),
    );
  } else if (!followsOthers(config) && !nodes.some((n) => n.promotable && facts.get(n.name)?.in_recovery)) {
    findings.push(warning(null, 'no replica may be promoted', 'set promotable: true for one that answers'));
  }
  for (const [name, primary] of primaries) findings.push(...judgePrimary(name, primary, replicas.length, config));
  if (!findings.some((f) => f.level === 'error')) {
    findings.push(fine(null, `one primary, ${replicas.length} ${replicas.length === 1 ? 'replica' : 'replicas'}`));
  }
  return findings;
}

function judgePrimary(name: string, facts: NodeFacts, replicas: number, config: Config): Finding[] {
  const findings: Finding[] = [];
  const role = `"${config.cluster.user.replaceAll('"', '""')}"`;
  if (facts.walsenders < replicas) {
    const message = `${facts.walsenders} of ${replicas} replicas stream from it`;
    findings.push(
      warning(name, message, "SELECT application_name, state FROM pg_stat_replication; look into the replicas' logs"),
    );
  }
  if (!facts.schema_present) {
    const fix = 'fairlead migrate -c FILE';
    findings.push(
      config.replication.mode === 'async'
        ? warning(name, 'schema fairlead is missing: epochs and events are not kept', fix)
        : problem(name, 'schema fairlead is missing: without it replication is not made synchronous', fix),
    );
  } else if (!facts.schema_usable) {
    const fix = `GRANT USAGE, CREATE ON SCHEMA fairlead TO ${role}; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA fairlead TO ${role}`;
    const level = config.replication.mode === 'async' ? warning : problem;
    findings.push(level(name, 'the role may not use schema fairlead', fix));
  }
  if (facts.schema_present && !facts.ddl_marked) {
    const message = 'DDL leaves no marks: every commit counts as a change of all tables';
    findings.push(warning(name, message, 'fairlead migrate -c FILE, once with a superuser as cluster.user'));
  }
  return findings;
}
