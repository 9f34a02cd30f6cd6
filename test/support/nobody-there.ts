import { show } from './serving.ts';
import { until } from './wait.ts';

/** Every session but those of the console has ended; who has not is told when the wait is over. */
export async function untilNobodyIsThere(url: string): Promise<void> {
  await until(
    async () => {
      const clients = await show(url, 'SHOW CLIENTS');
      const left = clients.filter(({ database }) => database !== 'fairlead');
      if (left.length > 0) throw new Error(JSON.stringify(left));
      return true;
    },
    { what: 'the end of all sessions' },
  );
}
