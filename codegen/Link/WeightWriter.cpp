#include "codegen/Link/WeightWriter.h"

#include "codegen/Link/PackPanels.h"
#include "codegen/Link/PackQuantPanels.h"
#include "dialects/MoE/MoEOps.h"
#include "llvm/Support/ThreadPool.h"
#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <unistd.h>

using namespace mlir;
using namespace moe;

namespace {
/// What is packed or copied in one go, and what is written between two
/// releases of pages, in bytes.
constexpr uint64_t kPiece = 1 << 20, kBatch = 64 << 20;

/// A matrix to be packed, its bytes at hand.
struct Matrix {
  virtual ~Matrix() = default;
  /// Bytes of a panel.
  virtual int64_t bytes() const = 0;
  virtual void pack(int64_t first, int64_t count, char *to) const = 0;
};

struct PlainMatrix : Matrix {
  PanelShape shape;
  SmallVector<ColumnRun> runs;

  int64_t bytes() const override { return shape.bytes(); }
  void pack(int64_t first, int64_t count, char *to) const override {
    packPanels(shape, runs, first, count, to);
  }
};

struct QuantMatrix : Matrix {
  QuantPanelShape shape;
  SmallVector<ValueRun> runs;

  int64_t bytes() const override { return shape.bytes(); }
  void pack(int64_t first, int64_t count, char *to) const override {
    packQuantPanels(shape, runs, first, count, to);
  }
};

/// A run of bytes of the file: panels of a matrix, or bytes as they are.
struct Piece {
  uint64_t at, size;
  const Matrix *matrix;
  int64_t firstPanel;
  const char *bytes;
};

/// Pieces are gathered by one thread, which alone talks to archives and
/// diagnostics, and packed and written by a few: packing takes a processor as
/// long as the kernel takes to copy the result into the page cache.
class Writer {
public:
  Writer(ModuleOp module, WeightSource &source, StringRef path, int fd,
         uint64_t offset, WeightProgress progress)
      : module(module), symbols(module), source(source), path(path), fd(fd),
        start(offset), progress(progress),
        threads(llvm::hardware_concurrency(4)) {
    source.useSymbols(&symbols);
  }
  ~Writer() {
    source.expect({});
    source.useSymbols(nullptr);
  }

  LogicalResult write();

private:
  void announce();
  LogicalResult write(BankOp bank);
  LogicalResult copy(BankOp bank, uint64_t at);
  template <typename Recipe>
  LogicalResult panels(BankOp bank, Recipe recipe, uint64_t at);
  FailureOr<std::unique_ptr<Matrix>> open(BankOp bank, PanelsAttr recipe,
                                          ArrayAttr runs);
  FailureOr<std::unique_ptr<Matrix>> open(BankOp bank, QuantPanelsAttr recipe,
                                          ArrayAttr runs);
  FailureOr<BankOp> sourceOf(BankOp bank, ColumnsAttr columns, int64_t depth,
                             int64_t perElement);
  /// Bytes of `from` that the coming pieces read, until `finish`.
  void use(StringRef bytes, BankOp from) { used.push_back({bytes, from}); }
  void finish() { finished = used.size(); }
  LogicalResult add(const Piece &piece);
  LogicalResult flush();
  void work();
  bool put(const char *data, uint64_t size, uint64_t at);

  ModuleOp module;
  SymbolTable symbols;
  WeightSource &source;
  StringRef path;
  int fd;
  uint64_t start, done = 0, total = 0;
  WeightProgress progress;
  llvm::DefaultThreadPool threads;

  /// One batch.
  std::vector<Piece> pieces;
  uint64_t pending = 0;
  std::atomic<size_t> next{0};
  std::atomic<int> error{0};
  std::mutex writing;
  std::vector<std::unique_ptr<Matrix>> matrices;
  /// What its pieces read; the last of it may be in use longer than that.
  SmallVector<std::pair<StringRef, BankOp>> used;
  size_t finished = 0;
};
} // namespace

bool Writer::put(const char *data, uint64_t size, uint64_t at) {
  // The kernel lets one thread at a time write to a file; the others had
  // rather sleep here than spin there.
  std::lock_guard<std::mutex> lock(writing);
  while (size > 0) {
    ssize_t n = pwrite(fd, data, size, start + at);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0) {
      error = n < 0 ? errno : EIO;
      return false;
    }
    data += n, at += n, size -= n;
  }
  return true;
}

void Writer::work() {
  std::vector<char> buffer;
  for (size_t i; (i = next++) < pieces.size() && !error;) {
    const Piece &piece = pieces[i];
    const char *bytes = piece.bytes;
    if (const Matrix *matrix = piece.matrix) {
      buffer.resize(std::max<size_t>(buffer.size(), piece.size));
      matrix->pack(piece.firstPanel, piece.size / matrix->bytes(),
                   buffer.data());
      bytes = buffer.data();
    }
    if (!put(bytes, piece.size, piece.at))
      return;
  }
}

LogicalResult Writer::flush() {
  if (!pieces.empty()) {
    next = 0;
    for (unsigned i = 0; i < threads.getMaxConcurrency(); ++i)
      threads.async([this] { work(); });
    threads.wait();
    if (error)
      return emitError(module.getLoc())
             << "cannot write weights to '" << path << "': " << strerror(error);
    pieces.clear();
    done += pending;
    pending = 0;
    progress(done, total);
  }
  // Mapped pages come back when they are read again; what was made in memory
  // must stay until all of it is written.
  auto open = ArrayRef(used).drop_front(finished);
  for (auto [bytes, from] : used)
    if (!from.getRecipe() || llvm::none_of(open, [&, from = from](auto &other) {
          return other.second == from;
        }))
      source.release(bytes);
  // The last matrix may have pieces to come, also where it reads no bank.
  if (matrices.size() > 1)
    matrices.erase(matrices.begin(), matrices.end() - 1);
  used.erase(used.begin(), used.begin() + finished);
  finished = 0;
  return success();
}

LogicalResult Writer::add(const Piece &piece) {
  pieces.push_back(piece);
  pending += piece.size;
  return pending < kBatch ? success() : flush();
}

LogicalResult Writer::copy(BankOp bank, uint64_t at) {
  auto bytes = source.bytes(bank);
  if (failed(bytes))
    return failure();
  use(*bytes, bank);
  for (uint64_t from = 0; from < bytes->size(); from += kPiece)
    if (StringRef piece = bytes->substr(from, kPiece);
        failed(add({at + from, piece.size(), nullptr, 0, piece.data()})))
      return failure();
  finish();
  return success();
}

/// The bank that `columns` are cut from, with room for them: `perElement`
/// numbers of theirs lie in one element of the bank.
FailureOr<BankOp> Writer::sourceOf(BankOp bank, ColumnsAttr columns,
                                   int64_t depth, int64_t perElement) {
  auto from = symbols.lookup<BankOp>(columns.getBank().getValue());
  if (!from)
    return bank.emitOpError("takes columns of ")
           << columns.getBank() << ", which is not a moe.bank";
  int64_t last = columns.getOffset() +
                 (columns.getCount() - 1) * columns.getStrideN() +
                 (depth - 1) * columns.getStrideK();
  if (columns.getCount() > 0 &&
      (columns.getOffset() < 0 ||
       last / perElement >= from.getTensorType().getNumElements()))
    return bank.emitOpError("takes columns beyond the end of ")
           << columns.getBank();
  return from;
}

FailureOr<std::unique_ptr<Matrix>> Writer::open(BankOp bank, PanelsAttr recipe,
                                                ArrayAttr runs) {
  auto type = bank.getTensorType();
  if (type.getElementTypeBitWidth() % 8 != 0)
    return bank.emitOpError("cannot pack elements of type ")
           << type.getElementType();
  auto matrix = std::make_unique<PlainMatrix>();
  matrix->shape = {recipe.getWidth(), recipe.getDepth(), recipe.getInterleave(),
                   type.getElementTypeBitWidth() / 8};
  for (auto columns : runs.getAsRange<ColumnsAttr>()) {
    auto from = sourceOf(bank, columns, recipe.getDepth(), 1);
    if (failed(from))
      return failure();
    if (from->getTensorType().getElementType() != type.getElementType())
      return bank.emitOpError("has elements of type ")
             << type.getElementType() << ", but " << columns.getBank()
             << " of type " << from->getTensorType().getElementType();
    auto data = source.bytes(*from);
    if (failed(data))
      return failure();
    const char *begin =
        data->data() + columns.getOffset() * matrix->shape.elementBytes;
    matrix->runs.push_back({begin, columns.getCount(), columns.getStrideN(),
                            columns.getStrideK()});
    int64_t last = (columns.getCount() - 1) * columns.getStrideN() +
                   (recipe.getDepth() - 1) * columns.getStrideK();
    if (columns.getCount() > 0)
      use(StringRef(begin, (last + 1) * matrix->shape.elementBytes), *from);
  }
  return std::unique_ptr<Matrix>(std::move(matrix));
}

FailureOr<std::unique_ptr<Matrix>>
Writer::open(BankOp bank, QuantPanelsAttr recipe, ArrayAttr runs) {
  auto matrix = std::make_unique<QuantMatrix>();
  int64_t stored = recipe.getStored();
  matrix->shape = {recipe.getBits(),  stored,
                   recipe.getFlip(),  recipe.getWidth(),
                   recipe.getDepth(), recipe.getInterleave()};
  for (auto columns : runs.getAsRange<ColumnsAttr>()) {
    auto known = symbols.lookup<BankOp>(columns.getBank().getValue());
    int64_t width =
        known && known.getTensorType().getElementType().isIntOrFloat()
            ? known.getTensorType().getElementTypeBitWidth()
            : 0;
    if (known && width != 8 && width != stored)
      return bank.emitOpError("takes values of ")
             << stored << " bits of " << columns.getBank() << ", which is "
             << known.getTensorType();
    auto from = sourceOf(bank, columns, recipe.getDepth(), width / stored);
    if (failed(from))
      return failure();
    auto data = source.bytes(*from);
    if (failed(data))
      return failure();
    matrix->runs.push_back({data->data(), columns.getOffset(),
                            columns.getCount(), columns.getStrideN(),
                            columns.getStrideK()});
    int64_t last = columns.getOffset() +
                   (columns.getCount() - 1) * columns.getStrideN() +
                   (recipe.getDepth() - 1) * columns.getStrideK();
    if (columns.getCount() > 0) {
      uint64_t begin = columns.getOffset() * stored / 8;
      use(data->slice(begin, last * stored / 8 + 1), *from);
    }
  }
  return std::unique_ptr<Matrix>(std::move(matrix));
}

/// `#moe.panels`: element [m, p, k, c] is column p * width + c, input k; and
/// `#moe.quant_panels`, the same for values of a few bits.
template <typename Recipe>
LogicalResult Writer::panels(BankOp bank, Recipe recipe, uint64_t at) {
  int64_t panelsPerMatrix = bank.getTensorType().getDimSize(1);
  for (auto runs : recipe.getMatrices().template getAsRange<ArrayAttr>()) {
    auto matrix = open(bank, recipe, runs);
    if (failed(matrix))
      return failure();
    int64_t size = (*matrix)->bytes();
    int64_t step = std::max<int64_t>(1, kPiece / std::max<int64_t>(1, size));
    const Matrix *address = matrix->get();
    matrices.push_back(std::move(*matrix));
    for (int64_t p = 0; p < panelsPerMatrix; p += step) {
      uint64_t bytes = std::min(step, panelsPerMatrix - p) * size;
      if (failed(add({at, bytes, address, p, nullptr})))
        return failure();
      at += bytes;
    }
    finish();
  }
  return success();
}

LogicalResult Writer::write(BankOp bank) {
  uint64_t at = bank->getAttrOfType<IntegerAttr>("moe.place").getInt();
  if (auto recipe =
          dyn_cast_or_null<PanelsAttr>(bank.getRecipe().value_or(Attribute())))
    return panels(bank, recipe, at);
  if (auto recipe = dyn_cast_or_null<QuantPanelsAttr>(
          bank.getRecipe().value_or(Attribute())))
    return panels(bank, recipe, at);
  return copy(bank, at);
}

/// The banks that will be read, in order.
void Writer::announce() {
  std::vector<BankOp> banks;
  for (BankOp bank : module.getOps<BankOp>()) {
    if (!bank->hasAttr("moe.place"))
      continue;
    Attribute recipe = bank.getRecipe().value_or(Attribute());
    if (!isa_and_nonnull<PanelsAttr, QuantPanelsAttr>(recipe)) {
      banks.push_back(bank);
      continue;
    }
    recipe.walk([&](ColumnsAttr columns) {
      auto from = symbols.lookup<BankOp>(columns.getBank().getValue());
      if (from && (banks.empty() || banks.back() != from))
        banks.push_back(from);
    });
  }
  source.expect(banks);
}

LogicalResult Writer::write() {
  announce();
  if (auto size = module->getAttrOfType<IntegerAttr>("moe.weights_size"))
    total = size.getInt();
  for (BankOp bank : module.getOps<BankOp>())
    if (bank->hasAttr("moe.place") && failed(write(bank)))
      return failure();
  return flush();
}

LogicalResult moe::writeWeights(ModuleOp module, WeightSource &source,
                                StringRef path, int fd, uint64_t offset,
                                WeightProgress progress) {
  return Writer(module, source, path, fd, offset, progress).write();
}
