// The file in Protobuf's wire format, written front to back: a message of
// weights is never in memory as a whole.
#include "frontends/ONNX/ExportFile.h"

#include "frontends/ONNX/ElementTypes.h"
#include "runtime/Core/File.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace moe;
using namespace moe::onnx;

// Where weights are put is found by mapping pages; small ones are packed.
static constexpr uint64_t kPage = 4096;
// Above this, weights leave the model file (Protobuf ends at 2 GiB).
static constexpr uint64_t kLargestModel = uint64_t(1) << 30;
// As small as this, they stay in it in any case.
static constexpr uint64_t kSmallWeight = 1024;

static void putVarint(std::string &out, uint64_t value) {
  for (; value >= 0x80; value >>= 7)
    out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

static void putHeader(std::string &out, unsigned field, uint64_t size) {
  putVarint(out, field << 3 | 2);
  putVarint(out, size);
}

namespace {
/// An initializer as it stands in the model file.
struct Entry {
  const PlannedWeight *weight = nullptr;
  bool external = false;
  uint64_t offset = 0;   // in the external data
  std::string message;   // all but the raw data
  std::string rawHeader; // what comes before the raw data, then
  uint64_t size() const {
    return message.size() + (external ? 0 : rawHeader.size() + weight->bytes());
  }
};
} // namespace

static pb::Tensor describe(const PlannedWeight &weight) {
  pb::Tensor tensor;
  for (int64_t size : weight.type.getShape())
    tensor.add_dims(size);
  tensor.set_data_type(*numberOfElement(weight.type.getElementType()));
  tensor.set_name(weight.name);
  return tensor;
}

static void addPair(pb::Tensor &tensor, StringRef key, StringRef value) {
  pb::StringPair *pair = tensor.add_external_data();
  pair->set_key(key.str());
  pair->set_value(value.str());
}

LogicalResult moe::onnx::writeModel(const pb::Model &model,
                                    ArrayRef<PlannedWeight> weights,
                                    StringRef path, Location loc,
                                    const ExportOptions &options) {
  bool stream = path == "-";
  std::string dataPath = (path + ".data").str();
  uint64_t total = 0, done = 0, dataSize = 0;
  for (const PlannedWeight &weight : weights)
    total += weight.bytes();
  bool external = options.externalData || total > kLargestModel;
  if (external && stream)
    return emitError(loc) << "cannot write external data beside standard "
                             "output; give -o a file";

  // Banks are opened one after the other.
  llvm::MapVector<Operation *, std::vector<const PlannedWeight *>> byBank;
  for (const PlannedWeight &weight : weights) {
    BankOp bank = weight.pieces.front().view.bank;
    byBank[bank].push_back(&weight);
  }
  std::vector<const PlannedWeight *> order;
  for (auto &[bank, users] : byBank)
    order.insert(order.end(), users.begin(), users.end());

  if (options.expect) {
    std::vector<BankOp> banks;
    for (const PlannedWeight *weight : order)
      for (const WeightPiece &piece : weight->pieces) {
        banks.push_back(piece.view.bank);
        if (piece.second)
          banks.push_back(piece.second->bank);
      }
    options.expect(banks);
  }

  std::vector<Entry> entries;
  uint64_t entriesSize = 0;
  for (const PlannedWeight *planned : order) {
    const PlannedWeight &weight = *planned;
    Entry entry;
    entry.weight = planned;
    entry.external = external && weight.bytes() > kSmallWeight;
    pb::Tensor tensor = describe(weight);
    if (entry.external) {
      entry.offset = (dataSize + kPage - 1) / kPage * kPage;
      dataSize = entry.offset + weight.bytes();
      tensor.set_data_location(1);
      addPair(tensor, "location", llvm::sys::path::filename(dataPath));
      addPair(tensor, "offset", std::to_string(entry.offset));
      addPair(tensor, "length", std::to_string(weight.bytes()));
    } else {
      putHeader(entry.rawHeader, /*raw_data=*/9, weight.bytes());
    }
    entry.message = tensor.SerializeAsString();
    std::string header;
    putHeader(header, /*initializer=*/5, entry.size());
    entriesSize += header.size() + entry.size();
    entries.push_back(std::move(entry));
  }
  external = dataSize > 0;

  auto check = [&](rt::Status status) -> LogicalResult {
    return status.ok() ? success() : emitError(loc) << status.message;
  };
  auto open = [&](const std::string &name)
      -> FailureOr<std::unique_ptr<rt::OutputFile>> {
    auto file = name == "-" ? rt::OutputFile::standardOutput()
                            : rt::OutputFile::create(name);
    if (!file)
      return emitError(loc) << file.error().message;
    return std::move(*file);
  };
  WeightReader reader(options);
  auto put = [&](const PlannedWeight &weight,
                 rt::OutputFile &file) -> LogicalResult {
    uint64_t before = done;
    LogicalResult result = reader.read(weight, [&](StringRef bytes) {
      file.write(bytes.data(), bytes.size());
      done += bytes.size();
      if (options.progress)
        options.progress(done, total);
    });
    if (failed(result) || done - before == weight.bytes())
      return result;
    return emitError(loc) << "internal error: initializer '" << weight.name
                          << "' takes " << weight.bytes() << " bytes, but "
                          << done - before << " were made";
  };

  std::unique_ptr<rt::OutputFile> data;
  if (external) {
    auto file = open(dataPath);
    if (failed(file))
      return failure();
    data = std::move(*file);
    uint64_t at = 0;
    for (const Entry &entry : entries) {
      if (!entry.external)
        continue;
      std::string gap(entry.offset - at, '\0');
      data->write(gap);
      if (failed(put(*entry.weight, *data)))
        return failure();
      at = entry.offset + entry.weight->bytes();
    }
  }

  auto file = open(path.str());
  if (failed(file))
    return failure();
  pb::Model outside = model;
  outside.clear_graph();
  std::string head = outside.SerializeAsString();
  std::string graph = model.graph().SerializeAsString();
  if (graph.size() + entriesSize > INT32_MAX)
    return emitError(loc) << "the graph without its weights has "
                          << graph.size() + entriesSize
                          << " bytes; an ONNX file ends at 2 GiB";
  putHeader(head, /*graph=*/7, graph.size() + entriesSize);
  (*file)->write(head);
  (*file)->write(graph);
  for (const Entry &entry : entries) {
    std::string header;
    putHeader(header, /*initializer=*/5, entry.size());
    (*file)->write(header + entry.message + entry.rawHeader);
    if (!entry.external && failed(put(*entry.weight, **file)))
      return failure();
  }
  // The data first: a model never names bytes that are not there.
  if (data && (failed(check(data->sync())) || failed(check((*file)->sync()))))
    return failure();
  if (data && failed(check(data->commit())))
    return failure();
  return check((*file)->commit());
}
