#include "frontends/ONNX/ModelFile.h"

#include "frontends/ONNX/OpRegistry.h"
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

using namespace mlir;
using namespace moe::onnx;
using google::protobuf::io::ArrayInputStream;
using google::protobuf::io::CodedInputStream;

namespace {
/// Reads the fields of one message in Protobuf's wire format. Only used on
/// input that Protobuf has accepted before, but checks bounds all the same.
class Wire {
public:
  Wire(StringRef bytes, uint64_t base) : bytes(bytes), base(base) {}

  /// Moves to the next field; false at the end or on damage.
  bool next() {
    uint64_t tag;
    if (at >= bytes.size() || !varint(tag))
      return false;
    field = tag >> 3;
    uint64_t size;
    switch (tag & 7) {
    case 0:
      return varint(size);
    case 1:
      return skip(8);
    case 5:
      return skip(4);
    case 2:
      if (!varint(size) || size > bytes.size() - at)
        return false;
      payload = bytes.substr(at, size);
      offset = base + at;
      at += size;
      return true;
    default:
      return false;
    }
  }

  uint64_t field = 0;
  StringRef payload; // of a length-delimited field
  uint64_t offset = 0;

private:
  bool varint(uint64_t &value) {
    value = 0;
    for (unsigned shift = 0; shift < 64 && at < bytes.size(); shift += 7) {
      uint8_t byte = bytes[at++];
      value |= uint64_t(byte & 0x7f) << shift;
      if (!(byte & 0x80))
        return true;
    }
    return false;
  }
  bool skip(uint64_t size) {
    if (size > bytes.size() - at)
      return false;
    at += size;
    return true;
  }

  StringRef bytes;
  uint64_t base, at = 0;
};
} // namespace

/// Field numbers: Model.graph 7, Graph.initializer 5, Tensor.name 8 and
/// Tensor.raw_data 9.
static void findRawRanges(StringRef buffer,
                          llvm::StringMap<ModelFile::Range> &ranges) {
  Wire model(buffer, 0);
  while (model.next()) {
    if (model.field != 7)
      continue;
    Wire graph(model.payload, model.offset);
    while (graph.next()) {
      if (graph.field != 5)
        continue;
      Wire tensor(graph.payload, graph.offset);
      StringRef name;
      std::optional<ModelFile::Range> range;
      while (tensor.next()) {
        if (tensor.field == 8)
          name = tensor.payload;
        else if (tensor.field == 9)
          range = {tensor.offset, tensor.payload.size()};
      }
      if (range)
        ranges[name] = *range;
    }
  }
}

std::unique_ptr<ModelFile>
ModelFile::parse(StringRef buffer,
                 function_ref<InFlightDiagnostic()> emitError) {
  auto fail = [&](auto... parts) {
    InFlightDiagnostic diagnostic = emitError();
    (diagnostic << ... << parts);
    return nullptr;
  };
  if (buffer.empty())
    return fail("is empty (0 bytes), not an ONNX model");
  if (buffer.size() > INT32_MAX)
    return fail("has ", buffer.size(),
                " bytes; an ONNX file ends at 2 GiB: keep the weights as "
                "external data");
  auto file = std::make_unique<ModelFile>();
  ArrayInputStream array(buffer.data(), buffer.size());
  CodedInputStream stream(&array);
  stream.SetTotalBytesLimit(INT32_MAX);
  stream.SetRecursionLimit(200);
  if (!file->model.ParseFromCodedStream(&stream) ||
      !stream.ConsumedEntireMessage())
    return fail("is not an ONNX (protobuf) file, or it is damaged: cannot be "
                "read beyond byte ",
                stream.CurrentPosition(), " of ", buffer.size());
  const pb::Model &model = file->model;
  if (!model.has_graph())
    return fail("holds no graph");
  if (!model.has_ir_version())
    return fail("does not say its IR version");
  if (model.ir_version() < kOldestIrVersion ||
      model.ir_version() > kNewestIrVersion)
    return fail("has IR version ", model.ir_version(), "; versions ",
                kOldestIrVersion, " to ", kNewestIrVersion, " are known");
  if (model.opset_import_size() == 0)
    return fail("imports no opset (operator set)");
  findRawRanges(buffer, file->rawRanges);
  return file;
}
