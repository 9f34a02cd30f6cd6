import type { NodeConfig } from '../config/config.ts';
import type { NodeRecord } from './observations.ts';
import { sameHost } from './same-host.ts';

/** A receiver that was silent for longer says nothing about now: walsenders send something every few seconds at least, busy ones all the time. */
const SILENT_MS = 2000;

/** True while a replica that answers receives WAL from this node, and has heard from it lately. */
export function isFed(
  { name, host, port }: Pick<NodeConfig, 'name' | 'host' | 'port'>,
  nodes: readonly Pick<NodeConfig, 'name'>[],
  record: (node: string) => NodeRecord,
): boolean {
  return nodes.some((other) => {
    if (other.name === name) return false;
    const { last, failure } = record(other.name);
    const receiver = failure === null ? (last?.receiver ?? null) : null;
    if (receiver === null || receiver.status !== 'streaming' || receiver.silentMs > SILENT_MS) return false;
    return receiver.senderPort === port && sameHost(receiver.senderHost, host);
  });
}
