#include "codegen/Link/WeightWriter.h"

#include "codegen/Link/PackedMatrix.h"
#include "mlir/IR/Diagnostics.h"
#include "passes/Analysis/WeightSource.h"
#include "llvm/Support/ThreadPool.h"
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <fcntl.h>
#include <mutex>
#include <thread>
#include <unistd.h>

using namespace mlir;
using namespace moe;

namespace {
/// What is packed or copied in one go, what is written between two releases of
/// pages, and what is held while there is no file yet, in bytes.
constexpr uint64_t kPiece = 1 << 20, kBatch = 32 << 20, kAhead = 256 << 20;

/// A run of bytes of the file: panels of a matrix, or bytes as they are.
struct Piece {
  uint64_t at, size;
  std::shared_ptr<const PackedMatrix> matrix;
  int64_t firstPanel;
  const char *bytes;
  bool isMade; ///< not just copied from an archive
};

struct Batch {
  std::vector<Piece> pieces;
  uint64_t bytes = 0;
  /// What the pieces read, until `finish`; the last of it may be read by pieces
  /// to come, too.
  SmallVector<UsedBytes> used;
  size_t finished = 0;
};

/// Made before there was a file.
struct Held {
  uint64_t at;
  std::vector<char> bytes;
};
} // namespace

/// Pieces are gathered by one thread, which alone talks to archives, and packed
/// and written by a few while it gathers the next batch: packing takes a
/// processor as long as the kernel takes to copy the result into the page
/// cache.
class WeightWriter::Job {
public:
  Job(ModuleOp module, WeightSource &source);
  ~Job();

  LogicalResult finish(StringRef path, int fd, uint64_t offset,
                       WeightProgress progress);

private:
  void begin();
  LogicalResult gather();
  LogicalResult copy(BankOp bank, uint64_t at);
  template <typename Recipe>
  LogicalResult panels(BankOp bank, Recipe recipe, uint64_t at);
  /// Nobody wants the rest.
  bool isOver() {
    std::lock_guard<std::mutex> lock(mutex);
    return stopped || error;
  }
  void finishUse() { current.finished = current.used.size(); }
  LogicalResult add(Piece piece);
  LogicalResult flush();
  LogicalResult wait();
  void work();
  void put(const char *data, uint64_t size, uint64_t at, bool made);
  bool write(const char *data, uint64_t size, uint64_t at);

  /// Of banks alone: passes change the module that they are from.
  OwningOpRef<ModuleOp> module;
  SymbolTable symbols;
  WeightSource &source;
  uint64_t total = 0;
  Batch current, running;
  std::atomic<size_t> next{0};
  llvm::DefaultThreadPool threads;

  /// Guards what follows, and writing: the kernel lets one thread at a time
  /// write to a file, and the others had rather sleep here than spin there.
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Held> held;
  uint64_t heldBytes = 0, done = 0, start = 0;
  int fd = -1, error = 0;
  bool stopped = false, gathered = false;
  LogicalResult result = failure();

  /// Keeps what the gathering thread says until the one that waits for it can
  /// say it.
  ParallelDiagnosticHandler diagnostics;
  std::thread gatherer;
};

/// The banks first that take work, so that the wait for a file is used.
static std::vector<BankOp> placedBanks(ModuleOp module) {
  std::vector<BankOp> banks;
  for (bool made : {true, false})
    for (BankOp bank : module.getOps<BankOp>())
      if (bank->hasAttr("moe.place") && bank.getRecipe().has_value() == made)
        banks.push_back(bank);
  return banks;
}

static OwningOpRef<ModuleOp> cloneBanks(ModuleOp module) {
  OwningOpRef<ModuleOp> banks = ModuleOp::create(module.getLoc());
  for (BankOp bank : module.getOps<BankOp>())
    banks->push_back(bank->clone());
  return banks;
}

WeightWriter::Job::Job(ModuleOp from, WeightSource &source)
    : module(cloneBanks(from)), symbols(*module), source(source),
      threads(llvm::hardware_concurrency(4)), diagnostics(from.getContext()) {
  if (auto size = from->getAttrOfType<IntegerAttr>("moe.weights_size"))
    total = size.getInt();
  // Attributes may be made by one thread at a time where the context has one.
  if (from.getContext()->isMultithreadingEnabled())
    begin();
}

void WeightWriter::Job::begin() {
  gatherer = std::thread([this] {
    diagnostics.setOrderIDForThread(0);
    LogicalResult outcome = gather();
    diagnostics.eraseOrderIDForThread();
    std::lock_guard<std::mutex> lock(mutex);
    result = outcome;
    gathered = true;
    changed.notify_all();
  });
}

WeightWriter::Job::~Job() {
  {
    std::lock_guard<std::mutex> lock(mutex);
    stopped = true;
    changed.notify_all();
  }
  if (gatherer.joinable())
    gatherer.join();
  threads.wait();
  source.expect({});
  source.useSymbols(nullptr);
}

/// The file is there and the lock held.
bool WeightWriter::Job::write(const char *data, uint64_t size, uint64_t at) {
  while (size > 0 && !error) {
    ssize_t n = pwrite(fd, data, size, start + at);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0) {
      error = n < 0 ? errno : EIO;
      changed.notify_all();
      break;
    }
    data += n, at += n, size -= n;
  }
  return !error;
}

void WeightWriter::Job::put(const char *data, uint64_t size, uint64_t at,
                            bool made) {
  std::unique_lock<std::mutex> lock(mutex);
  if (fd < 0 && made && heldBytes + size <= kAhead) {
    held.push_back({at, std::vector<char>(data, data + size)});
    heldBytes += size;
    return;
  }
  changed.wait(lock, [&] { return fd >= 0 || stopped; });
  if (!stopped && write(data, size, at))
    done += size;
}

void WeightWriter::Job::work() {
  std::vector<char> buffer;
  for (size_t i; (i = next++) < running.pieces.size();) {
    const Piece &piece = running.pieces[i];
    const char *bytes = piece.bytes;
    if (piece.matrix) {
      buffer.resize(std::max<size_t>(buffer.size(), piece.size));
      piece.matrix->pack(piece.firstPanel, piece.size / piece.matrix->bytes(),
                         buffer.data());
      bytes = buffer.data();
    }
    put(bytes, piece.size, piece.at, piece.isMade);
    if (isOver())
      return;
  }
}

/// For the batch that is being written.
LogicalResult WeightWriter::Job::wait() {
  threads.wait();
  // Mapped pages come back when they are read again; what was made in memory
  // must stay until all of it is written.
  for (UsedBytes &use : running.used)
    if (!use.bank.getRecipe() ||
        llvm::none_of(current.used, [&](const UsedBytes &other) {
          return other.bank == use.bank;
        }))
      source.release(use.bytes);
  running = Batch();
  std::lock_guard<std::mutex> lock(mutex);
  // The disk may begin, too.
  if (fd >= 0 && !error)
    (void)sync_file_range(fd, start, total, SYNC_FILE_RANGE_WRITE);
  changed.notify_all();
  return failure(stopped || error);
}

LogicalResult WeightWriter::Job::flush() {
  if (failed(wait()))
    return failure();
  auto open = ArrayRef(current.used).drop_front(current.finished);
  Batch rest;
  rest.used.assign(open.begin(), open.end());
  current.used.truncate(current.finished);
  running = std::move(current);
  current = std::move(rest);
  next = 0;
  for (unsigned i = 0; i < threads.getMaxConcurrency(); ++i)
    threads.async([this] { work(); });
  return success();
}

LogicalResult WeightWriter::Job::add(Piece piece) {
  current.bytes += piece.size;
  current.pieces.push_back(std::move(piece));
  return current.bytes < kBatch ? success() : flush();
}

LogicalResult WeightWriter::Job::copy(BankOp bank, uint64_t at) {
  auto bytes = source.bytes(bank);
  if (failed(bytes))
    return failure();
  current.used.push_back({*bytes, bank});
  for (uint64_t from = 0; from < bytes->size(); from += kPiece)
    if (StringRef piece = bytes->substr(from, kPiece);
        failed(add({at + from, piece.size(), nullptr, 0, piece.data(),
                    bank.getRecipe().has_value()})))
      return failure();
  finishUse();
  return success();
}

/// `#moe.panels`: element [m, p, k, c] is column p * width + c, input k; and
/// `#moe.quant_panels`, the same for values of a few bits.
template <typename Recipe>
LogicalResult WeightWriter::Job::panels(BankOp bank, Recipe recipe,
                                        uint64_t at) {
  int64_t panelsPerMatrix = bank.getTensorType().getDimSize(1);
  for (auto runs : recipe.getMatrices().template getAsRange<ArrayAttr>()) {
    if (isOver())
      return failure();
    auto opened = openMatrix(bank, recipe, runs, source, current.used);
    if (failed(opened))
      return failure();
    std::shared_ptr<const PackedMatrix> matrix = std::move(*opened);
    int64_t size = matrix->bytes();
    int64_t step = std::max<int64_t>(1, kPiece / std::max<int64_t>(1, size));
    for (int64_t p = 0; p < panelsPerMatrix; p += step) {
      uint64_t bytes = std::min(step, panelsPerMatrix - p) * size;
      if (failed(add({at, bytes, matrix, p, nullptr, true})))
        return failure();
      at += bytes;
    }
    finishUse();
  }
  return success();
}

LogicalResult WeightWriter::Job::gather() {
  source.useSymbols(&symbols);
  std::vector<BankOp> banks = placedBanks(*module);
  // What will be read, in order.
  std::vector<BankOp> sources;
  for (BankOp bank : banks) {
    Attribute recipe = bank.getRecipe().value_or(Attribute());
    if (!isa_and_nonnull<PanelsAttr, QuantPanelsAttr>(recipe)) {
      sources.push_back(bank);
      continue;
    }
    recipe.walk([&](ColumnsAttr columns) {
      BankOp from = source.lookup(bank, columns.getBank());
      if (from && (sources.empty() || sources.back() != from))
        sources.push_back(from);
    });
  }
  source.expect(sources);
  for (BankOp bank : banks) {
    if (isOver())
      return failure();
    uint64_t at = bank->getAttrOfType<IntegerAttr>("moe.place").getInt();
    Attribute recipe = bank.getRecipe().value_or(Attribute());
    LogicalResult made = success();
    if (auto plain = dyn_cast_or_null<PanelsAttr>(recipe))
      made = panels(bank, plain, at);
    else if (auto coded = dyn_cast_or_null<QuantPanelsAttr>(recipe))
      made = panels(bank, coded, at);
    else
      made = copy(bank, at);
    if (failed(made))
      return failure();
  }
  return success(succeeded(flush()) && succeeded(wait()));
}

LogicalResult WeightWriter::Job::finish(StringRef path, int file,
                                        uint64_t offset,
                                        WeightProgress progress) {
  if (!gatherer.joinable())
    begin();
  std::unique_lock<std::mutex> lock(mutex);
  fd = file, start = offset;
  changed.notify_all();
  // Others pack meanwhile, and write between.
  while (!held.empty() && !error) {
    Held first = std::move(held.front());
    held.pop_front();
    if (write(first.bytes.data(), first.bytes.size(), first.at))
      done += first.bytes.size();
    lock.unlock();
    lock.lock();
  }
  while (!gathered) {
    changed.wait(lock);
    progress(done, total);
  }
  if (error)
    return emitError(module->getLoc())
           << "cannot write weights to '" << path << "': " << strerror(error);
  progress(done, total);
  return result;
}

WeightWriter::WeightWriter(ModuleOp module, WeightSource &source)
    : job(std::make_unique<Job>(module, source)) {}
WeightWriter::~WeightWriter() = default;

LogicalResult WeightWriter::write(StringRef path, int fd, uint64_t offset,
                                  WeightProgress progress) {
  LogicalResult result = job->finish(path, fd, offset, progress);
  // Says what went wrong.
  job.reset();
  return result;
}
