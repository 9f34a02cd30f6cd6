/** A planned switchover, as a session meets it that keeps its connection to the server that hands over. */
import { FairleadError } from '../core/errors.ts';
import type { Link } from './link.ts';
import type { Services } from './services.ts';
import { summarize, type Work } from './work.ts';

/** True for what has to wait until the switchover is undone. What only reads is answered as long as the connection lives. */
export function mustWait({ connection, node, readOnly }: Link, work: Work, { cluster }: Services): boolean {
  if (readOnly || connection.closed || cluster.assignment.value.handingOver !== node.name) return false;
  const { class: kind, read } = summarize(work.verdicts);
  return kind !== 'read' || !read || !work.synced;
}

/** Why the connection is gone: what the server says when it is emptied means nothing to a client. */
export function whyLost(error: FairleadError, { node }: Link, { cluster }: Services): FairleadError {
  if (cluster.assignment.value.handingOver !== node.name) return error;
  return new FairleadError('connection_lost', `node ${node.name} hands over to another primary`);
}
