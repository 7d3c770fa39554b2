/**
 * How much of a serial line Skylink uses, in real time: `node scripts/bench/skylink.ts [--virtual]`. Targets: at least 90 % of the
 * line at 115200 and 1,000,000 baud with an adapter that holds bytes back for 16 ms; it finishes with 0.1 % of the bytes
 * damaged; less than 10 % of a core at 1 Mbaud.
 */

import { measureReading } from '../../test/support/skylink-speed.ts';

const realTime = !process.argv.includes('--virtual');

// The agent's clock does not keep a process alive by itself.
const awake = setInterval(() => {}, 1_000);

const scenarios = [
  { baud: 115_200, frame: 254, corrupt: 0, bytes: 100_000 },
  { baud: 115_200, frame: 1024, corrupt: 0, bytes: 100_000 },
  { baud: 1_000_000, frame: 1024, corrupt: 0, bytes: 1_000_000 },
  { baud: 115_200, frame: 254, corrupt: 0.001, bytes: 60_000 },
  { baud: 1_000_000, frame: 1024, corrupt: 0.001, bytes: 500_000 },
];

console.log(
  `time is ${realTime ? 'real' : 'virtual'}; processor time is that of host, device and simulated line together`,
);
console.log('   baud  frame  damaged    bytes/s   of the line  retries  processor');
for (const scenario of scenarios) {
  const { bytesPerSecond, used, retries, cpuMs, elapsedMs } = await measureReading({
    ...scenario,
    latency: 16,
    realTime,
  });
  const columns = [
    String(scenario.baud).padStart(7),
    String(scenario.frame).padStart(6),
    `${(100 * scenario.corrupt).toFixed(1)} %`.padStart(8),
    Math.round(bytesPerSecond).toString().padStart(10),
    `${(100 * used).toFixed(1)} %`.padStart(13),
    String(retries).padStart(8),
    realTime ? `${((100 * cpuMs) / elapsedMs).toFixed(1)} %`.padStart(10) : '',
  ];
  console.log(columns.join(' '));
}
clearInterval(awake);
