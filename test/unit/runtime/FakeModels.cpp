#include "test/unit/runtime/FakeModels.h"

#include "test/unit/runtime/FakeOffload.h"

#include <cstring>

namespace moe::test {
namespace {

float *floats(const moert_tensor &tensor) {
  return static_cast<float *>(tensor.data);
}
int64_t *ints(const moert_tensor &tensor) {
  return static_cast<int64_t *>(tensor.data);
}

// --- add ---

const int64_t rowDims[] = {-1, 4};
const char *const rowNames[] = {"n", ""};
const moert_port addInputs[] = {{"x", MOERT_F32, 2, rowDims, rowNames},
                                {"y", MOERT_F32, 2, rowDims, rowNames}};
const moert_port addOutputs[] = {{"sum", MOERT_F32, 2, rowDims, rowNames}};

struct AddArguments {
  const float *x, *y;
  float *sum;
};

void runAdd(const moert_tensor *inputs, moert_tensor *outputs) {
  int64_t n = inputs[0].shape[0];
  outputs[0].shape[0] = n;
  outputs[0].shape[1] = 4;
  outputs[0].data = moert_alloc(n * 4 * 4);
  AddArguments arguments = {floats(inputs[0]), floats(inputs[1]),
                            floats(outputs[0])};
  moert_phase_begin("add");
  moert_parallel_for(
      n, 2,
      [](void *argument, int64_t begin, int64_t end) {
        auto &a = *static_cast<AddArguments *>(argument);
        for (int64_t i = begin * 4; i < end * 4; ++i)
          a.sum[i] = a.x[i] + a.y[i];
      },
      &arguments);
  moert_phase_end();
  const int32_t chosen[] = {0, 2, 2, -1, 9};
  moert_tensor ids = {const_cast<int32_t *>(chosen), MOERT_I32, 2, {1, 5}};
  moert_measure("layers.0", MOERT_CHOICE, MOERT_SCORE_NONE, 3, &ids, 1);
}

// --- fail ---

const int64_t oneDims[] = {1};
const char *const noNames[] = {""};
const moert_port failInputs[] = {{"how", MOERT_I64, 1, oneDims, noNames}};
const moert_port failOutputs[] = {{"out", MOERT_F32, 1, oneDims, noNames}};

void runFail(const moert_tensor *inputs, moert_tensor *outputs) {
  int64_t how = *ints(inputs[0]);
  outputs[0].data = moert_alloc(4);
  *floats(outputs[0]) = 1;
  outputs[0].shape[0] = how == 5 ? 2 : 1;
  if (how == 1)
    moert_fail(7, "NaN in router of %s at token %lld", "layer 3", 17);
  if (how == 2)
    moert_parallel_for(
        8, 1,
        [](void *, int64_t begin, int64_t) {
          if (begin == 5 || begin == 3)
            moert_fail(7, "chunk %lld of %s", "the region", begin);
        },
        nullptr);
  if (how == 3)
    moert_alloc(int64_t(1) << 60);
  if (how == 4)
    moert_parallel_for(
        8, 1,
        [](void *, int64_t, int64_t) {
          std::memset(moert_scratch(int64_t(1) << 60), 0, 64);
        },
        nullptr);
}

// --- text ---

const int64_t idsDims[] = {-1, -1};
const char *const idsNames[] = {"batch", "seq"};
const char *const maskNames[] = {"batch", "total"};
const int64_t logitsDims[] = {-1, -1, 256};
const char *const logitsNames[] = {"batch", "seq", ""};
const int64_t pastDims[] = {-1, -1, 1};
const char *const pastNames[] = {"batch", "past", ""};
const char *const presentNames[] = {"batch", "total", ""};
const moert_port textInputs[] = {
    {"attention_mask", MOERT_I64, 2, idsDims, maskNames},
    {"position_ids", MOERT_I64, 2, idsDims, idsNames},
    {"input_ids", MOERT_I64, 2, idsDims, idsNames},
    {"past.0.key", MOERT_F32, 3, pastDims, pastNames}};
const moert_port textOutputs[] = {
    {"logits", MOERT_F32, 3, logitsDims, logitsNames},
    {"present.0.key", MOERT_F32, 3, pastDims, presentNames}};

void runText(const moert_tensor *inputs, moert_tensor *outputs) {
  const moert_tensor &mask = inputs[0], &positions = inputs[1],
                     &ids = inputs[2], &past = inputs[3];
  int64_t batch = ids.shape[0], seq = ids.shape[1], before = past.shape[1];
  int64_t total = before + seq;
  if (mask.shape[1] != total)
    moert_fail(7, "the mask has %lld columns", nullptr, mask.shape[1]);
  outputs[0].shape[0] = outputs[1].shape[0] = batch;
  outputs[0].shape[1] = seq;
  outputs[0].shape[2] = 256;
  outputs[1].shape[1] = total;
  outputs[1].shape[2] = 1;
  outputs[0].data = moert_alloc(batch * seq * 256 * 4);
  outputs[1].data = moert_alloc(batch * total * 4);
  for (int64_t b = 0; b < batch; ++b) {
    float *present = floats(outputs[1]) + b * total;
    if (before)
      std::memcpy(present, floats(past) + b * before, before * 4);
    float sum = 0;
    for (int64_t t = 0; t < before; ++t)
      sum += present[t];
    for (int64_t t = 0; t < seq; ++t) {
      if (ints(positions)[b * seq + t] != before + t)
        moert_fail(7, "position %lld is wrong", nullptr, t);
      if (ints(mask)[b * total + before + t] != 1)
        moert_fail(7, "mask %lld is wrong", nullptr, t);
      present[before + t] = static_cast<float>(ints(ids)[b * seq + t]);
      sum += present[before + t];
      float *logits = floats(outputs[0]) + (b * seq + t) * 256;
      for (int v = 0; v < 256; ++v)
        logits[v] = 0;
      logits[(static_cast<int64_t>(sum) + 1) % 256] = 3;
    }
  }
}

// --- append ---

const int64_t rowsDims[] = {-1, -1, 2};
const char *const freshNames[] = {"batch", "seq", ""};
const moert_port appendInputs[] = {
    {"fresh.0", MOERT_F32, 3, rowsDims, freshNames},
    {"fresh.1", MOERT_F32, 3, rowsDims, freshNames},
    {"past.0", MOERT_F32, 3, rowsDims, pastNames},
    {"past.1", MOERT_F32, 3, rowsDims, pastNames}};
const moert_port appendOutputs[] = {
    {"present.0", MOERT_F32, 3, rowsDims, presentNames},
    {"present.1", MOERT_F32, 3, rowsDims, presentNames},
    {"sum", MOERT_F32, 1, oneDims, noNames}};

void runAppend(const moert_tensor *inputs, moert_tensor *outputs) {
  float sum = 0;
  for (int c = 0; c < 2; ++c) {
    const moert_tensor &fresh = inputs[c], &past = inputs[2 + c];
    int64_t batch = past.shape[0], rows = past.shape[1], seq = fresh.shape[1];
    int64_t capacity = 0;
    float *data = static_cast<float *>(
        moert_append(2 + c, c, past.data, batch, rows, seq, 8, &capacity));
    for (int64_t b = 0; b < batch; ++b) {
      float *block = data + b * capacity * 2;
      std::memcpy(block + rows * 2, floats(fresh) + b * seq * 2, seq * 8);
      for (int64_t i = 0; i < (rows + seq) * 2; ++i)
        sum += block[i];
    }
    outputs[c].data = data;
    outputs[c].shape[0] = batch;
    outputs[c].shape[1] = rows + seq;
    outputs[c].shape[2] = 2;
  }
  if (inputs[0].shape[1] && *floats(inputs[0]) < 0)
    moert_fail(7, "a negative number", nullptr, 0);
  outputs[2].data = moert_alloc(4);
  *floats(outputs[2]) = sum;
  outputs[2].shape[0] = 1;
}

void runDeviceAppend(const moert_tensor *inputs, moert_tensor *outputs) {
  float sum = 0;
  for (int c = 0; c < 2; ++c) {
    const moert_tensor &fresh = inputs[c], &past = inputs[2 + c];
    int64_t batch = past.shape[0], rows = past.shape[1], seq = fresh.shape[1];
    int64_t capacity = 0, all = rows + seq;
    char *data = static_cast<char *>(moert_device_append(
        2 + c, c, past.data, batch, rows, seq, 8, &capacity));
    float *block = static_cast<float *>(moert_alloc(all * 8));
    for (int64_t b = 0; b < batch; ++b) {
      char *begin = data + b * capacity * 8;
      moert_device_upload(begin + rows * 8, floats(fresh) + b * seq * 2,
                          seq * 8);
      moert_device_download(block, begin, all * 8);
      for (int64_t i = 0; i < all * 2; ++i)
        sum += block[i];
    }
    outputs[c].data = moert_device_present(data, batch * all * 8);
    outputs[c].shape[0] = batch;
    outputs[c].shape[1] = all;
    outputs[c].shape[2] = 2;
  }
  if (inputs[0].shape[1] && *floats(inputs[0]) < 0)
    moert_fail(7, "a negative number", nullptr, 0);
  outputs[2].data = moert_alloc(4);
  *floats(outputs[2]) = sum;
  outputs[2].shape[0] = 1;
}

// --- results on a device ---

const moert_port resultInputs[] = {{"x", MOERT_F32, 2, rowDims, rowNames}};
const moert_port resultOutputs[] = {{"y", MOERT_F32, 2, rowDims, rowNames}};

void runDeviceResult(const moert_tensor *inputs, moert_tensor *outputs) {
  int64_t n = inputs[0].shape[0], bytes = n * 4 * 4;
  auto *sums = static_cast<float *>(moert_alloc(bytes));
  for (int64_t i = 0; i < n * 4; ++i)
    sums[i] = floats(inputs[0])[i] + 1;
  void *memory = moert_device_alloc(bytes);
  moert_device_upload(memory, sums, bytes);
  // Nobody may see it where it was.
  std::memset(sums, 0, static_cast<size_t>(bytes));
  moert_free(sums);
  outputs[0].data = moert_device_present(memory, bytes);
  outputs[0].shape[0] = n;
  outputs[0].shape[1] = 4;
  if (n && floats(inputs[0])[0] < -100)
    moert_fail(7, "a small number", nullptr, 0);
}

// --- plain ---

const int64_t fixedDims[] = {2, 256};
const int64_t fixedLogits[] = {2, 256, 256};
const char *const fixedNames[] = {"", "", ""};
const moert_port plainInputs[] = {
    {"input_ids", MOERT_I64, 2, idsDims, idsNames}};
const moert_port plainOutputs[] = {
    {"logits", MOERT_F32, 3, logitsDims, logitsNames}};
const moert_port fixedInputs[] = {
    {"input_ids", MOERT_I64, 2, fixedDims, fixedNames}};
const moert_port fixedOutputs[] = {
    {"logits", MOERT_F32, 3, fixedLogits, fixedNames}};

void runPlain(const moert_tensor *inputs, moert_tensor *outputs) {
  int64_t batch = inputs[0].shape[0], seq = inputs[0].shape[1];
  outputs[0].shape[0] = batch;
  outputs[0].shape[1] = seq;
  outputs[0].shape[2] = 256;
  outputs[0].data = moert_alloc(batch * seq * 256 * 4);
  std::memset(outputs[0].data, 0, batch * seq * 256 * 4);
  for (int64_t b = 0; b < batch; ++b) {
    int64_t sum = 0;
    for (int64_t t = b * seq; t < (b + 1) * seq; ++t) {
      sum += ints(inputs[0])[t];
      floats(outputs[0])[t * 256 + (sum + 1) % 256] = 3;
    }
  }
}

// --- weight ---

const char *weightBase = nullptr;
const int64_t vectorDims[] = {-1};
const char *const vectorNames[] = {"n"};
const moert_port weightInputs[] = {
    {"x", MOERT_F32, 1, vectorDims, vectorNames}};
const moert_port weightOutputs[] = {
    {"y", MOERT_F32, 1, vectorDims, vectorNames}};

void runWeight(const moert_tensor *inputs, moert_tensor *outputs) {
  int64_t n = outputs[0].shape[0] = inputs[0].shape[0];
  outputs[0].data = moert_alloc(n * 4);
  float w;
  std::memcpy(&w, weightBase, 4);
  for (int64_t i = 0; i < n; ++i)
    floats(outputs[0])[i] = w * floats(inputs[0])[i];
}

moert_model describe(const char *name, const moert_port *inputs, uint32_t ins,
                     const moert_port *outputs, uint32_t outs,
                     void (*run)(const moert_tensor *, moert_tensor *)) {
  moert_model model = {};
  model.magic = MOERT_MAGIC;
  model.abi_major = MOERT_ABI_MAJOR;
  model.abi_minor = MOERT_ABI_MINOR;
  model.name = name;
  model.manifest = "{}";
  model.cpu_features = "";
  model.num_inputs = ins;
  model.num_outputs = outs;
  model.inputs = inputs;
  model.outputs = outputs;
  model.run = run;
  return model;
}

} // namespace

const moert_model &addModel() {
  static const moert_model model =
      describe("add", addInputs, 2, addOutputs, 1, runAdd);
  return model;
}

const moert_model &failModel() {
  static const moert_model model =
      describe("fail", failInputs, 1, failOutputs, 1, runFail);
  return model;
}

const moert_model &textModel() {
  static const moert_model model =
      describe("text", textInputs, 4, textOutputs, 2, runText);
  return model;
}

const moert_model &appendModel() {
  static const moert_model model =
      describe("append", appendInputs, 4, appendOutputs, 3, runAppend);
  return model;
}

/// The model with code for a FakeOffload.
static moert_model withDevice(moert_model model) {
  static const moert_device_code code = [] {
    moert_device_code made = {};
    made.architecture = "sm_80";
    made.ptx = "";
    made.runtime = &fakeOffloadRuntime();
    return made;
  }();
  model.device = &code;
  return model;
}

const moert_model &deviceAppendModel() {
  static const moert_model model = withDevice(
      describe("append", appendInputs, 4, appendOutputs, 3, runDeviceAppend));
  return model;
}

const moert_model &deviceResultModel() {
  static const moert_model model = withDevice(
      describe("result", resultInputs, 1, resultOutputs, 1, runDeviceResult));
  return model;
}

const moert_model &plainModel(bool fixed) {
  static const moert_model models[] = {
      describe("plain", plainInputs, 1, plainOutputs, 1, runPlain),
      describe("fixed", fixedInputs, 1, fixedOutputs, 1, runPlain)};
  return models[fixed];
}

const moert_model &weightModel() {
  static const moert_model model = [] {
    moert_model made =
        describe("weight", weightInputs, 1, weightOutputs, 1, runWeight);
    made.weights_size = 64;
    made.weights_slot = &weightBase;
    return made;
  }();
  return model;
}

} // namespace moe::test
