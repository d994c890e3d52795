// Run by node: NODE_MODULES DESCRIPTOR_SET ADDRESS, prints JSON.
const fs = require("fs");
const path = require("path");
const [modules, descriptors, address] = process.argv.slice(2);
const grpc = require(path.join(modules, "@grpc/grpc-js"));
const loader = require(path.join(modules, "@grpc/proto-loader"));

const options = { keepCase: true, longs: String, enums: String, defaults: true };
const definition = loader.loadFileDescriptorSetFromBuffer(fs.readFileSync(descriptors), options);
const { serving } = grpc.loadPackageDefinition(definition).tensorflow;
const credentials = grpc.credentials.createInsecure();
const prediction = new serving.PredictionService(address, credentials);
const models = new serving.ModelService(address, credentials);

function call(client, method, request, seconds = 10) {
  return new Promise((resolve) => {
    client[method](request, { deadline: Date.now() + 1000 * seconds }, (error, response) => {
      resolve(error ? { code: error.code, details: error.details } : response);
    });
  });
}

// Read from descriptors, a map is what it is on the wire: a list of keys and values.
function map(object) {
  return Object.entries(object).map(([key, value]) => ({ key, value }));
}

function output(response, name) {
  if (!response.outputs) throw new Error(JSON.stringify(response));
  return response.outputs.find((entry) => entry.key === name).value;
}

function floats(values, dtype = "DT_FLOAT") {
  return { dtype, tensor_shape: { dim: [{ size: values.length }] }, float_val: values };
}

async function main() {
  const half = { name: "half" };
  const answer = await call(prediction, "Predict", { model_spec: half, inputs: map({ x: floats([2, 3]) }) });
  const empty = { dtype: "DT_INT32", tensor_shape: {} };
  const refusal = await call(prediction, "Predict", { model_spec: half, inputs: map({ x: empty }) });
  // This message ends in a space, which Node's HTTP/2 takes for a broken header and drops.
  const silent = await call(prediction, "Predict", { model_spec: half, inputs: map({ z: floats([2]) }) });
  const status = await call(models, "GetModelStatus", { model_spec: half });
  const loop = { name: "toys", signature_name: "loop" };
  const steps = { dtype: "DT_INT64", tensor_shape: {}, int64_val: ["1000000000000"] };
  const late = await call(prediction, "Predict", { model_spec: loop, inputs: map({ steps }) }, 0.3);
  const parallel = await Promise.all(
    [...Array(4)].map((_, i) => call(prediction, "Predict", { model_spec: half, inputs: map({ x: floats([i]) }) })),
  );
  const result = {
    y: output(answer, "y").float_val,
    signature: answer.model_spec.signature_name,
    refusal,
    silent: silent.code,
    states: status.model_version_status.map((entry) => [entry.version, entry.state]),
    late: late.code,
    parallel: parallel.map((response) => output(response, "y").float_val[0]),
  };
  console.log(JSON.stringify(result));
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
