/** The schedules of convergence.test.ts, as many as SKYLARK_SCHEDULES says, by default 20,000. */

process.env.SKYLARK_SCHEDULES ??= '20000';
await import('./convergence.test.ts');
