// What Perfetto's own trace processor reads in a trace: node trace_processor.mjs FOLDER TRACE prints one JSON object.
//
// FOLDER holds trace_processor.wasm, engine_bundle.node.js and engine.mjs: the parts of Perfetto's user interface that
// read a trace. They were built for a worker of a browser, so what they need of one is put here first.
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import vm from "node:vm";

const [folder, trace] = process.argv.slice(2).map((path) => resolve(path));

globalThis.self = globalThis;
globalThis.WorkerGlobalScope = class {};
globalThis.location = { href: pathToFileURL(join(folder, "engine_bundle.node.js")).href };
globalThis.XMLHttpRequest = class {
  open(_, name) {
    this.response = readFileSync(join(folder, name));
  }
  send() {}
};
// The bundle asks by a module of 23 bytes for 64-bit memory, whose build is not there.
const { Module } = WebAssembly;
WebAssembly.Module = class extends Module {
  constructor(bytes) {
    if (bytes.length === 23) throw new Error("32-bit memory only");
    super(bytes);
  }
};
vm.runInThisContext(readFileSync(join(folder, "engine_bundle.node.js"), "utf8"));
await new Promise(setImmediate); // then it has started

const { EngineBase } = await import(pathToFileURL(join(folder, "engine.mjs")).href);
const { port1, port2 } = new MessageChannel();
class Engine extends EngineBase {
  id = "tests";
  mode = "WASM";
  rpcSendRequestBytes(bytes) {
    port1.postMessage(bytes);
  }
}
const engine = new Engine();
port1.onmessage = ({ data }) => engine.onRpcResponseBytes(data);
globalThis.onmessage({ data: port2 });

await engine.parse(new Uint8Array(readFileSync(trace)));
await engine.notifyEof();

async function rows(columns, sql) {
  const found = [];
  for (const row = (await engine.query(sql)).iter(columns); row.valid(); row.next())
    found.push(Object.fromEntries(Object.keys(columns).map((column) => [column, row[column]])));
  return found;
}
const TEXT = "str", NUMBER = 0;
const lanes = "slice join thread_track on slice.track_id = thread_track.id join thread using (utid)";
const read = {
  slices: await rows(
    { lane: TEXT, name: TEXT, count: NUMBER, total_ns: NUMBER },
    `select thread.name as lane, slice.name as name, count(*) as count, sum(dur) as total_ns from ${lanes} group by 1, 2`,
  ),
  counters: await rows(
    { name: TEXT, count: NUMBER },
    "select track.name as name, count(*) as count from counter join counter_track as track on track.id = track_id group by 1",
  ),
  errors: await rows({ name: TEXT, value: NUMBER }, "select name, value from stats where severity = 'error' and value > 0"),
};
console.log(JSON.stringify(read));
port1.close();
