import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SkylarkError } from '../../../agent/base/errors.ts';
import { formatSource, isUnstableName, parseSource } from '../../../firmware-bridge/transports/source.ts';

test('a serial port with and without options', () => {
  assert.deepEqual(parseSource('serial:/dev/serial/by-id/usb-Piano-if00'), {
    kind: 'serial',
    path: '/dev/serial/by-id/usb-Piano-if00',
    baud: 115_200,
    hardwareFlow: false,
  });
  assert.deepEqual(parseSource('serial:/dev/ttyS1?baud=1000000&flow=hardware'), {
    kind: 'serial',
    path: '/dev/ttyS1',
    baud: 1_000_000,
    hardwareFlow: true,
  });
});

test('a TCP address, also IPv6', () => {
  assert.deepEqual(parseSource('tcp://piano.local:4001'), {
    kind: 'tcp',
    endpoint: { host: 'piano.local', port: 4001 },
  });
  assert.deepEqual(parseSource('tcp://[::1]:4001'), { kind: 'tcp', endpoint: { host: '::1', port: 4001 } });
});

test('a USB device, with and without a serial number', () => {
  const line = { baud: 115_200, hardwareFlow: false };
  const pico = { kind: 'usb', vendor: '2e8a', product: '000a' } as const;
  assert.deepEqual(parseSource('usb:2E8A:000a'), { ...pico, serialNumber: undefined, ...line });
  assert.deepEqual(parseSource('usb:2e8a:000a:E6:60?baud=9600'), {
    ...pico,
    serialNumber: 'E6:60',
    ...line,
    baud: 9_600,
  });
});

test('a folder, which is a medium where media are mounted', () => {
  const dir = (path: string, mountPoint: string | undefined) => ({ kind: 'dir', path, mountPoint });
  assert.deepEqual(parseSource('dir:/media/stick/'), dir('/media/stick', '/media/stick'));
  assert.deepEqual(parseSource('dir:/run/media/me/a b'), dir('/run/media/me/a b', '/run/media/me/a b'));
  assert.deepEqual(parseSource('dir:/media/stick?mount=any'), dir('/media/stick', undefined));
  assert.deepEqual(
    parseSource('dir:/media/stick/in?mount=/media/stick'),
    dir('/media/stick/in', '/media/stick'),
  );
  assert.deepEqual(parseSource('dir:/srv/scans'), dir('/srv/scans', undefined));
  assert.deepEqual(parseSource('dir:/srv/scans?mount=required'), dir('/srv/scans', '/srv/scans'));
  assert.deepEqual(parseSource('dir:/mediathek'), dir('/mediathek', undefined));
});

test('what is wrong is said, with what to do', () => {
  const wrong: readonly (readonly [string, RegExp, RegExp])[] = [
    ['', /does not say what kind/, /write serial:/],
    ['/dev/ttyUSB0', /does not say what kind/, /write serial:/],
    ['seral:/dev/x', /no kind of source called seral/, /did you mean serial:/],
    ['http://x:1', /no kind of source called http/, /tcp:\/\/HOST:PORT/],
    ['serial:ttyUSB0', /no absolute path/, /by-id/],
    ['serial:/dev/x?baud=fast', /no usable baud rate \(fast\)/, /115200/],
    ['serial:/dev/x?baud=12', /no usable baud rate/, /300/],
    ['serial:/dev/x?buad=9600', /unknown option buad/, /did you mean baud/],
    ['serial:/dev/x?flow=xonxoff', /unknown flow control/, /hardware/],
    ['serial:/dev/x?a?b', /no absolute path/, /by-id/],
    ['usb:2e8a', /no vendor and product/, /lsusb/],
    ['usb:2e8a:000g', /no vendor and product/, /lsusb/],
    ['usb:2e8a:000a:', /no vendor and product/, /SERIAL/],
    ['usb:2e8a:000a?buad=1', /unknown option buad/, /did you mean baud/],
    ['dir:media', /no absolute path/, /dir:\/media/],
    ['dir:/media/../etc', /no absolute path/, /dir:\/media/],
    ['dir:/media/x?mount=maybe', /unknown kind of mount/, /mount=any/],
    ['dir:/media/x?mount=/media/y', /unknown kind of mount/, /mount=any/],
    ['dir:/media/x?mode=1', /unknown option mode/, /mount/],
    ['tcp:host:1', /no host and port/, /tcp:\/\//],
    ['tcp://host', /no host and port/, /tcp:\/\//],
    ['tcp://host:99999', /no host and port/, /tcp:\/\//],
  ];
  for (const [text, message, remedy] of wrong) {
    assert.throws(
      () => parseSource(text),
      (thrown: SkylarkError) => {
        assert.equal(thrown.code, 'bridge.source');
        assert.equal(thrown.exitCode, 78);
        assert.match(thrown.message, message);
        assert.match(thrown.remedy ?? '', remedy);
        return true;
      },
      text,
    );
  }
});

test('any text is a source or the user’s mistake, and a source says the same when written again', () => {
  const texts = fc.oneof(
    fc.string(),
    fc.string().map((rest) => `serial:/${rest}`),
    fc.string().map((rest) => `tcp://${rest}`),
    fc.webUrl(),
  );
  fc.assert(
    fc.property(texts, (text) => {
      try {
        const source = parseSource(text);
        assert.deepEqual(parseSource(formatSource(source)), source);
      } catch (thrown) {
        assert.ok(thrown instanceof SkylarkError && thrown.fault === 'user', String(thrown));
      }
    }),
    { numRuns: 300 },
  );
});

test('a name that changes with the order of plugging in is known as one', () => {
  assert.ok(isUnstableName(parseSource('serial:/dev/ttyUSB0')));
  assert.ok(isUnstableName(parseSource('serial:/dev/ttyACM3?baud=9600')));
  assert.ok(!isUnstableName(parseSource('serial:/dev/serial/by-id/usb-x')));
  assert.ok(!isUnstableName(parseSource('tcp://host:1')));
});
