/** A process of its own for clients: what they cost is not the benchmark's. One job, then it waits to be ended. */
import { messageOf } from '../../src/core/errors.ts';
import { burst } from './burst.ts';
import { hold } from './hold.ts';
import type { Answer, Job, Result } from './job.ts';
import { receive, send } from './relay.ts';
import { sessions } from './sessions.ts';

process.once('message', (job: Job) => {
  run(job).then(
    (result) => answer({ result }),
    (error) => answer({ failure: messageOf(error) }),
  );
});
process.once('disconnect', () => process.exit());

function run(job: Job): Promise<Result[Job['kind']]> {
  switch (job.kind) {
    case 'hold':
      return hold(job);
    case 'burst':
      return burst(job);
    case 'receive':
      return receive(job);
    case 'send':
      return send(job);
    case 'sessions':
      return sessions(job);
  }
}

function answer(what: Answer): void {
  process.send?.(what);
}
