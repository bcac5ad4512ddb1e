#include "frontends/HuggingFace/WriteFolder.h"

#include "frontends/HuggingFace/JsonValues.h"
#include "frontends/HuggingFace/Record.h"
#include "runtime/Core/File.h"
#include "runtime/Core/Sha256.h"
#include "runtime/Core/Text.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace mlir;
using namespace moe;
using namespace moe::hf;
namespace fs = llvm::sys::fs;
namespace path = llvm::sys::path;

/// Runs of bytes that are written, hashed and given back at once.
static constexpr uint64_t kRun = 1 << 22;

static uint64_t bytesOf(StringRef dtype) {
  return dtype.ends_with("64")                               ? 8
         : dtype.ends_with("32")                             ? 4
         : dtype.ends_with("16") && !dtype.starts_with("F8") ? 2
                                                             : 1;
}

uint64_t PlannedTensor::size() const {
  uint64_t size = bytesOf(dtype);
  for (int64_t n : shape)
    size *= static_cast<uint64_t>(n);
  return size;
}

namespace {
/// The folder while it is made: under another name, gone unless it is kept.
class PendingFolder {
public:
  ~PendingFolder() {
    if (!temporary.empty() && !kept)
      fs::remove_directories(temporary);
  }
  LogicalResult make(StringRef folder, Location loc);
  /// A file of the folder that an interrupt removes too.
  std::string file(StringRef name) {
    std::string whole = temporary + "/" + name.str();
    pending.push_back(std::make_unique<rt::RemoveOnInterrupt>(whole));
    return whole;
  }
  LogicalResult keep(StringRef folder, Location loc);
  /// Is that the folder, under its present name or its later one?
  bool is(StringRef path) const {
    return fs::equivalent(path, temporary) || fs::equivalent(path, target);
  }

private:
  std::string temporary, target;
  std::vector<std::unique_ptr<rt::RemoveOnInterrupt>> pending;
  bool kept = false;
};

/// A file of weights.
struct Shard {
  std::vector<PlannedTensor> tensors;
  uint64_t size = 0;
  std::string name;
};

class Writer {
public:
  Writer(const rt::Checkpoint &source, Location loc,
         const ExportOptions &options)
      : source(source), loc(loc), options(options) {}

  LogicalResult run(std::vector<PlannedTensor> tensors, rt::Json config,
                    StringRef folder);

private:
  void split(std::vector<PlannedTensor> tensors);
  LogicalResult writeShard(const Shard &shard, rt::Json &hashes);
  LogicalResult writeTensor(const PlannedTensor &tensor,
                            llvm::function_ref<void(StringRef)> sink);
  LogicalResult writeIndex();
  LogicalResult writeText(StringRef name, const std::string &text);
  LogicalResult copyOthers(std::vector<std::string> &left);
  LogicalResult copy(const std::string &from, StringRef name);
  LogicalResult check(rt::Status status) {
    return status.ok() ? success() : emitError(loc) << status.message;
  }

  const rt::Checkpoint &source;
  Location loc;
  const ExportOptions &options;
  PendingFolder pending;
  std::vector<Shard> shards;
  uint64_t total = 0, done = 0;
};
} // namespace

static std::string withoutSlash(StringRef folder) {
  while (folder.size() > 1 && folder.ends_with("/"))
    folder = folder.drop_back();
  return folder.str();
}

/// The folder behind links and dots, which cannot be renamed; its name where
/// there is none yet.
static std::string targetOf(StringRef folder) {
  llvm::SmallString<128> real;
  return fs::real_path(folder, real) ? withoutSlash(folder) : real.str().str();
}

/// Puts the names in a folder on the disk; files are synced on their own.
static bool syncFolder(const std::string &folder) {
  int file = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bool done = file >= 0 && fsync(file) == 0;
  int error = errno;
  if (file >= 0)
    close(file);
  errno = error;
  return done;
}

static InFlightDiagnostic cannot(StringRef folder, Location loc) {
  return emitError(loc) << "cannot write '" << folder << "': ";
}

LogicalResult PendingFolder::make(StringRef folder, Location loc) {
  target = targetOf(folder);
  std::string name = target + ".tmp-" + std::to_string(getpid());
  // Known before it is there, so that no interrupt finds it unknown.
  pending.push_back(std::make_unique<rt::RemoveOnInterrupt>(name));
  if (mkdir(name.c_str(), 0777) != 0)
    return cannot(folder, loc) << std::strerror(errno);
  temporary = name;
  return success();
}

LogicalResult PendingFolder::keep(StringRef folder, Location loc) {
  if (!syncFolder(temporary) || rename(temporary.c_str(), target.c_str()) != 0)
    return cannot(folder, loc) << std::strerror(errno);
  kept = true;
  // Whatever comes of it: the folder is complete.
  StringRef parent = path::parent_path(target);
  (void)syncFolder(parent.empty() ? "." : parent.str());
  return success();
}

LogicalResult moe::hf::checkFolder(StringRef folder,
                                   const rt::Checkpoint &source, Location loc) {
  std::string name = targetOf(folder);
  if (folder == "-" || StringRef(name).starts_with("/dev/"))
    return cannot(folder, loc)
           << "a checkpoint is a folder of several files; give -o FOLDER";
  StringRef parent = path::parent_path(name);
  if (std::error_code error =
          fs::access(parent.empty() ? "." : parent, fs::AccessMode::Write))
    return cannot(folder, loc)
           << "folder '" << parent << "': " << error.message();
  fs::file_status status;
  if (fs::status(name, status)) {
    if (fs::is_symlink_file(name))
      return cannot(folder, loc) << "it is a link to nothing";
    return success();
  }
  if (status.type() != fs::file_type::directory_file)
    return cannot(folder, loc) << "it exists and is no folder";
  std::error_code error;
  fs::directory_iterator first(name, error);
  if (error)
    return cannot(folder, loc) << error.message();
  if (fs::equivalent(name, source.folder))
    return cannot(folder, loc) << "it holds the input";
  if (first != fs::directory_iterator())
    return cannot(folder, loc) << "the folder exists and is not empty; remove "
                                  "it, or give another name";
  // Another folder takes its place, which leaves us and the user's shell in
  // one that is gone.
  if (fs::equivalent(name, "."))
    return cannot(folder, loc) << "it is the current folder, which would be "
                                  "replaced; give another name";
  return success();
}

/// Tensors in the order of their names, so that the parts of a matrix lie side
/// by side, cut into files.
void Writer::split(std::vector<PlannedTensor> tensors) {
  llvm::sort(tensors, [](const PlannedTensor &a, const PlannedTensor &b) {
    return a.name < b.name;
  });
  for (PlannedTensor &tensor : tensors) {
    uint64_t size = tensor.size();
    if (shards.empty() || (shards.back().size > 0 &&
                           shards.back().size + size > options.shardBytes))
      shards.emplace_back();
    shards.back().size += size;
    shards.back().tensors.push_back(std::move(tensor));
    total += size;
  }
  if (shards.empty())
    shards.emplace_back();
  char number[40];
  for (auto [i, shard] : llvm::enumerate(shards)) {
    std::snprintf(number, sizeof(number), "model-%05zu-of-%05zu", i + 1,
                  shards.size());
    shard.name =
        (shards.size() == 1 ? "model" : std::string(number)) + ".safetensors";
    // Readers want numbers at multiples of their size.
    uint64_t at = 0;
    bool aligned = true;
    for (const PlannedTensor &tensor : shard.tensors) {
      aligned &= at % bytesOf(tensor.dtype) == 0;
      at += tensor.size();
    }
    if (!aligned)
      llvm::sort(shard.tensors,
                 [](const PlannedTensor &a, const PlannedTensor &b) {
                   return std::make_pair(-int64_t(bytesOf(a.dtype)), a.name) <
                          std::make_pair(-int64_t(bytesOf(b.dtype)), b.name);
                 });
  }
}

LogicalResult Writer::writeTensor(const PlannedTensor &tensor,
                                  llvm::function_ref<void(StringRef)> sink) {
  if (!tensor.bank) {
    sink(tensor.inlined);
    return success();
  }
  if (tensor.size() == 0)
    return success();
  BankOp bank = tensor.bank;
  auto bytes = options.bytes(bank);
  if (failed(bytes))
    return failure();
  uint64_t each = bank.getTensorType().getElementTypeBitWidth() / 8;
  ArrayRef<int64_t> shape = tensor.view.shape, strides = tensor.view.strides;
  int64_t dense = 1;
  bool isDense = true;
  for (size_t d = shape.size(); d-- > 0; dense *= shape[d])
    isDense &= shape[d] == 1 || strides[d] == dense;
  StringRef data = bytes->drop_front(tensor.view.offset * each);
  if (isDense) {
    data = data.take_front(tensor.size());
    for (uint64_t at = 0; at < data.size(); at += kRun)
      sink(data.substr(at, kRun));
  } else {
    // A view of a matrix; what imported checkpoints hold are whole banks.
    std::string row;
    int64_t rows = shape[0], columns = shape.size() > 1 ? shape[1] : 1;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c)
        row += data.substr(
            (r * strides[0] + (shape.size() > 1 ? c * strides[1] : 0)) * each,
            each);
      sink(row);
      row.clear();
    }
  }
  options.release(*bytes);
  return success();
}

static std::string hex(const rt::Sha256::Digest &digest) {
  return llvm::toHex(ArrayRef<uint8_t>(digest), /*LowerCase=*/true);
}

LogicalResult Writer::writeShard(const Shard &shard, rt::Json &hashes) {
  std::vector<rt::ArchiveTensor> entries;
  for (const PlannedTensor &tensor : shard.tensors)
    entries.push_back({tensor.name,
                       tensor.dtype,
                       {tensor.shape.begin(), tensor.shape.end()},
                       0,
                       tensor.size()});
  std::map<std::string, std::string> metadata;
  if (!source.files.empty())
    metadata = source.files[0].header.metadata;
  metadata.try_emplace("format", "pt");
  // So that the file alone tells it too.
  if (!options.facts.members.empty())
    metadata[kRecord.str()] = printJson(options.facts);
  auto file = rt::OutputFile::create(pending.file(shard.name));
  if (!file)
    return check(file.error());
  rt::Sha256 hash;
  uint64_t size = 0;
  auto put = [&](StringRef bytes) {
    (*file)->write(bytes.data(), bytes.size());
    hash.update({bytes.data(), bytes.size()});
    size += bytes.size();
  };
  put(rt::safetensorsHeader(metadata, entries));
  for (const PlannedTensor &tensor : shard.tensors) {
    uint64_t before = size;
    if (failed(writeTensor(tensor, put)))
      return failure();
    if (size - before != tensor.size())
      return emitError(loc) << "internal error: tensor '" << tensor.name
                            << "' takes " << tensor.size() << " bytes, but "
                            << size - before << " were made";
    done += tensor.size();
    if (options.progress)
      options.progress(done, total);
  }
  rt::Json entry = jsonObject();
  setMember(entry, "bytes", jsonNumber(static_cast<int64_t>(size)));
  setMember(entry, "sha256", jsonText(hex(hash.finish())));
  setMember(hashes, shard.name, std::move(entry));
  return check((*file)->commit());
}

LogicalResult Writer::writeText(StringRef name, const std::string &text) {
  auto file = rt::OutputFile::create(pending.file(name));
  if (!file)
    return check(file.error());
  (*file)->write(text);
  return check((*file)->commit());
}

LogicalResult Writer::writeIndex() {
  rt::Json index = jsonObject(), metadata = jsonObject(), map = jsonObject();
  setMember(metadata, "total_size", jsonNumber(static_cast<int64_t>(total)));
  for (const Shard &shard : shards)
    for (const PlannedTensor &tensor : shard.tensors)
      map.members.emplace_back(tensor.name, jsonText(shard.name));
  setMember(index, "metadata", std::move(metadata));
  setMember(index, "weight_map", std::move(map));
  return writeText("model.safetensors.index.json", printJson(index));
}

LogicalResult Writer::copy(const std::string &from, StringRef name) {
  int in = open(from.c_str(), O_RDONLY | O_CLOEXEC);
  if (in < 0)
    return check(rt::systemError("read", from, errno));
  auto out = rt::OutputFile::create(pending.file(name));
  std::string buffer(1 << 20, '\0');
  ssize_t got = 0;
  while (out && ((got = read(in, buffer.data(), buffer.size())) > 0 ||
                 (got < 0 && errno == EINTR)))
    if (got > 0)
      (*out)->write(buffer.data(), static_cast<uint64_t>(got));
  int error = errno;
  close(in);
  if (!out)
    return check(out.error());
  if (got < 0)
    return check(rt::systemError("read", from, error));
  return check((*out)->commit());
}

/// Does a file hold the weights that are replaced, in whatever format?
static bool holdsWeights(StringRef name) {
  for (StringRef end : {".safetensors", ".safetensors.index.json", ".bin",
                        ".bin.index.json", ".pt", ".pth", ".gguf", ".onnx",
                        ".onnx.data", ".onnx_data", ".h5", ".msgpack"})
    if (name.ends_with(end))
      return true;
  return false;
}

/// Tokenizers and the like come along; `left` is not.
LogicalResult Writer::copyOthers(std::vector<std::string> &left) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(source.folder, error), end;
       it != end && !error; it.increment(error))
    names.push_back(path::filename(it->path()).str());
  if (error)
    return emitError(loc) << "cannot read '" << source.folder
                          << "': " << error.message();
  llvm::sort(names);
  for (const std::string &name : names) {
    bool isOurs =
        name == "config.json" ||
        llvm::any_of(source.files,
                     [&](const auto &file) { return file.name == name; }) ||
        (source.isIndexed &&
         StringRef(name).ends_with(".safetensors.index.json"));
    if (isOurs)
      continue;
    std::string whole = source.folder + "/" + name;
    if (pending.is(whole))
      continue;
    fs::file_status status;
    bool isFile = !fs::status(whole, status) &&
                  status.type() == fs::file_type::regular_file;
    if (!isFile || holdsWeights(name) || name[0] == '.')
      left.push_back("'" + rt::printable(name) + "'");
    else if (failed(copy(whole, name)))
      return failure();
  }
  return success();
}

LogicalResult Writer::run(std::vector<PlannedTensor> tensors, rt::Json config,
                          StringRef folder) {
  if (failed(checkFolder(folder, source, loc)) ||
      failed(pending.make(folder, loc)))
    return failure();
  // First: what cannot be read is known before the long part.
  std::vector<std::string> left;
  if (failed(copyOthers(left)))
    return failure();
  split(std::move(tensors));
  rt::Json hashes = jsonObject();
  for (const Shard &shard : shards)
    if (failed(writeShard(shard, hashes)))
      return failure();
  if (shards.size() > 1 && failed(writeIndex()))
    return failure();
  rt::Json own = *config.find(kRecord.str());
  setMember(own, "files", std::move(hashes));
  setMember(config, kRecord.str(), std::move(own));
  if (failed(writeText("config.json", printJson(config))) ||
      failed(pending.keep(folder, loc)))
    return failure();
  if (!left.empty() && options.note)
    options.note("left out of '" + folder + "': " + llvm::join(left, ", "));
  return success();
}

LogicalResult moe::hf::writeFolder(std::vector<PlannedTensor> tensors,
                                   rt::Json config,
                                   const rt::Checkpoint &source,
                                   StringRef folder, Location loc,
                                   const ExportOptions &options) {
  return Writer(source, loc, options)
      .run(std::move(tensors), std::move(config), folder);
}
