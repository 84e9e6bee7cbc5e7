// node web.mjs MODULES MODEL BATCH SHAPE OUT: runs an .onnx file in onnxruntime-web on raw float32 examples.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [modules, model, batch, shape, out] = process.argv.slice(2);
const ort = await import(pathToFileURL(createRequire(modules + "/").resolve("onnxruntime-web")).href);
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(readFileSync(model), { executionProviders: ["wasm"] });
const bytes = readFileSync(batch);
const input = new ort.Tensor("float32", new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4), JSON.parse(shape));
const results = await session.run({ [session.inputNames[0]]: input });
writeFileSync(out, Buffer.from(results[session.outputNames[0]].data.buffer));
