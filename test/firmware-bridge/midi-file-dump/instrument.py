"""An instrument that speaks MIDI File Dump, made from the published recommendation and nothing else, so that it shares no
mistake with the agent. The line is TCP; what its player does comes as JSON lines on standard input, what became of it goes
to standard output."""

import json
import socket
import sys
import threading
import queue
import time

ME = 0x05


class Instrument:
    def __init__(self, connection):
        self.connection = connection
        self.messages = queue.Queue()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        message = None
        while True:
            data = self.connection.recv(4096)
            if not data:
                self.messages.put(None)
                return
            for byte in data:
                if byte == 0xF0:
                    message = bytearray()
                elif byte == 0xF7 and message is not None:
                    self.messages.put(bytes(message))
                    message = None
                elif byte < 0x80 and message is not None:
                    message.append(byte)

    def say(self, *content, damage=False):
        body = bytearray(content)
        if damage:
            body[-2] ^= 0x01
        # A clock in the middle, as instruments that play do.
        middle = len(body) // 2
        self.connection.sendall(b"\xf0" + bytes(body[:middle]) + b"\xf8" + bytes(body[middle:]) + b"\xf7")

    def hear(self, seconds):
        try:
            return self.messages.get(timeout=seconds)
        except queue.Empty:
            return None

    def answer(self, seconds=10):
        """Name and packet number of the next handshake."""
        names = {0x7F: "ack", 0x7E: "nak", 0x7D: "cancel", 0x7C: "wait", 0x7B: "eof"}
        while True:
            message = self.hear(seconds)
            if message is None:
                return None, None
            if len(message) == 4 and message[0] == 0x7E and message[2] in names:
                return names[message[2]], message[3]

    def send(self, name, kind, data, damaged=(), doubled=(), announced=None, stop_after=None):
        # What was said of an earlier file does not count.
        while not self.messages.empty():
            self.messages.get()
        length = len(data) if announced is None else announced
        digits = [(length >> shift) & 0x7F for shift in (0, 7, 14, 21)]
        self.say(0x7E, 0x10, 0x07, 0x01, ME, *kind.encode(), *digits, *name.encode())
        if self.wait_for(None) != "ack":
            return False
        packets = [data[i : i + 112] for i in range(0, len(data), 112)]
        for number, packet in enumerate(packets):
            if stop_after is not None and number >= stop_after:
                return False
            coded = bytearray()
            for start in range(0, len(packet), 7):
                group = packet[start : start + 7]
                coded.append(sum(0x40 >> i for i, byte in enumerate(group) if byte & 0x80))
                coded += bytes(byte & 0x7F for byte in group)
            body = [0x7E, 0x10, 0x07, 0x02, number & 0x7F, len(coded) - 1, *coded]
            checksum = 0
            for byte in body:
                checksum ^= byte
            body.append(checksum)
            hurt = number in damaged
            for _ in range(12):
                self.say(*body, damage=hurt)
                if number in doubled:
                    self.say(*body)
                hurt = False
                said = self.wait_for(number & 0x7F)
                if said == "ack":
                    break
                if said != "nak":
                    return False
            else:
                return False
            if number in doubled:
                self.answer(0.3)
        self.say(0x7E, 0x10, 0x7B, 0x00)
        return True

    def wait_for(self, number):
        while True:
            said, packet = self.answer(60)
            if said == "wait":
                continue
            if said in ("cancel", None) or number is None or packet == number:
                return said

    def receive(self, refuse_first=(), seconds=10):
        while True:
            header = self.hear(seconds)
            if header is None:
                return None
            if header[0] == 0x7E and header[2:4] == b"\x07\x01":
                break
        sender = header[4]
        length = sum(digit << (7 * i) for i, digit in enumerate(header[9:13]))
        name = header[13:].decode()
        self.say(0x7E, sender, 0x7C, 0x00)
        time.sleep(0.05)
        self.say(0x7E, sender, 0x7F, 0x00)
        data = bytearray()
        expected = 0
        refused = set(refuse_first)
        while True:
            message = self.hear(seconds)
            if message is None:
                return None
            if message[2] == 0x7D:
                return None
            if message[2] == 0x7B:
                break
            number, count = message[4], message[5]
            coded = message[6:-1]
            checksum = 0
            for byte in message[:-1]:
                checksum ^= byte
            good = checksum == message[-1] and len(coded) == count + 1
            if expected in refused or not good:
                refused.discard(expected)
                self.say(0x7E, sender, 0x7E, number)
                continue
            if number == expected & 0x7F:
                for start in range(0, len(coded), 8):
                    high = coded[start]
                    for i, byte in enumerate(coded[start + 1 : start + 8]):
                        data.append(byte | (0x80 if high & (0x40 >> i) else 0))
                expected += 1
            self.say(0x7E, sender, 0x7F, number)
        return {"name": name, "type": header[5:9].decode(), "announced": length, "hex": data.hex()}


def main():
    server = socket.create_server(("127.0.0.1", 0))
    print(json.dumps({"port": server.getsockname()[1]}), flush=True)
    connection, _ = server.accept()
    instrument = Instrument(connection)
    for line in sys.stdin:
        asked = json.loads(line)
        what = asked.pop("do")
        if what == "send":
            data = bytes.fromhex(asked.pop("hex"))
            result = instrument.send(asked.pop("name"), asked.pop("type"), data, **asked)
        elif what == "receive":
            result = instrument.receive(**asked)
        elif what == "noise":
            connection.sendall(bytes.fromhex(asked["hex"]))
            result = True
        print(json.dumps({"result": result}), flush=True)


main()
