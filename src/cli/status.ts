import { parseOptions } from './arguments.ts';
import type { Command } from './command.ts';
import { callRemote, REMOTE_OPTIONS, remoteFrom } from './remote.ts';

/** What is shown of `GET /api/cluster`. */
type ClusterAnswer = {
  readonly epoch: number | string;
  readonly primary: string | null;
  readonly phase: string;
  readonly reason: string | null;
  readonly paused: boolean;
  readonly scheduled?: { readonly at: number; readonly to: string | null } | null;
  readonly nodes: readonly {
    readonly name: string;
    readonly role: string;
    readonly state: string;
    readonly address: string;
    readonly timeline: number | null;
    readonly replayLsn: string | null;
    readonly lag: { readonly bytes: number | null; readonly ms: number | null };
    readonly reason: string | null;
  }[];
};

export const status: Command = async (args, { print, environment }) => {
  const { values } = parseOptions(args, REMOTE_OPTIONS);
  const answer = (await callRemote(remoteFrom(values, environment), '/api/cluster', null)) as ClusterAnswer;
  if (values.json) {
    print(JSON.stringify(answer));
    return 0;
  }
  const { primary, epoch, phase, reason, paused, scheduled, nodes } = answer;
  print(
    `primary ${primary ?? 'none'}, epoch ${epoch}, ${phase}${reason ? `: ${reason}` : ''}${paused ? ', paused' : ''}`,
  );
  if (scheduled) {
    print(`switchover${scheduled.to === null ? '' : ` to ${scheduled.to}`} at ${new Date(scheduled.at).toISOString()}`);
  }
  const rows = nodes.map((node) => [
    node.name,
    node.role,
    node.state,
    node.address,
    `${node.timeline ?? '-'}`,
    node.replayLsn ?? '-',
    node.lag.ms === null ? '-' : `${Math.round(node.lag.ms)} ms`,
    node.lag.bytes === null ? '-' : `${node.lag.bytes} B`,
    node.reason ?? '',
  ]);
  for (const line of table([['node', 'role', 'state', 'address', 'timeline', 'position', 'lag', '', ''], ...rows]))
    print(line);
  return 0;
};

/** Columns padded to the widest cell. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] as number))
      .join('  ')
      .trimEnd(),
  );
}
