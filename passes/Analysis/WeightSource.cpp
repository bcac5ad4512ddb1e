#include "passes/Analysis/WeightSource.h"

#include "dialects/MoE/MoEOps.h"
#include "passes/Analysis/ReadAhead.h"
#include "passes/Analysis/Recipe.h"
#include <sys/mman.h>

using namespace mlir;
using namespace moe;
namespace fs = llvm::sys::fs;

WeightSource::WeightSource() : made(std::make_unique<RecipeMemo>()) {}
WeightSource::~WeightSource() = default;

bool WeightSource::isMade(BankOp bank) const {
  return derived.contains(bank.getSymName());
}

BankOp WeightSource::lookup(Operation *at, FlatSymbolRefAttr name) const {
  if (symbols)
    return symbols->lookup<BankOp>(name.getValue());
  return SymbolTable::lookupNearestSymbolFrom<BankOp>(at, name);
}

void WeightSource::forget() {
  *made = RecipeMemo();
  inlined.clear();
  derived.clear();
}

void WeightSource::expect(ArrayRef<BankOp> banks) {
  expected = std::make_unique<ReadAhead>(*this);
  places.clear();
  reached = 0;
  for (BankOp bank : banks) {
    places.insert({bank, expected->size()});
    expected->add(bank, {});
  }
}

/// Calls `fn` with the whole pages inside `range`.
template <typename Fn>
static void withPages(StringRef range, Fn fn) {
  uintptr_t page = 4096;
  uintptr_t begin =
      (reinterpret_cast<uintptr_t>(range.begin()) + page - 1) / page * page;
  uintptr_t end = reinterpret_cast<uintptr_t>(range.end()) / page * page;
  if (begin < end)
    fn(reinterpret_cast<void *>(begin), end - begin);
}

uint64_t WeightSource::willNeed(BankOp bank, SliceAttr slice, uint64_t most) {
  if (!bank.getArchive() || !bank.getOffset())
    return 0;
  // What is wrong is told to those who read.
  std::string why;
  fs::mapped_file_region *region = map(*bank.getArchive(), why);
  RankedTensorType type = bank.getTensorType();
  if (!region)
    return 0;
  auto geometry = slice.resolve(type, [&] { return bank.emitOpError(); });
  if (failed(geometry))
    return 0;
  int64_t last = geometry->offset;
  for (auto [size, stride] : llvm::zip(geometry->shape, geometry->strides))
    last += (size - 1) * stride;
  uint64_t bits = type.getElementTypeBitWidth();
  uint64_t begin = *bank.getOffset() + geometry->offset * bits / 8;
  uint64_t end = *bank.getOffset() + (last + 1) * bits / 8;
  if (begin >= end || end > region->size())
    return 0;
  uint64_t size = std::min(end - begin, most);
  withPages(StringRef(region->const_data() + begin, size),
            [](void *pages, size_t count) {
              (void)madvise(pages, count, MADV_WILLNEED);
            });
  return size;
}

fs::mapped_file_region *WeightSource::map(StringRef name, std::string &why) {
  auto &region = mapped[name];
  if (region)
    return region.get();
  auto path = paths.find(name);
  if (path == paths.end()) {
    why = ("lies in archive '" + name +
           "', which is not bound to a file (--bank " + name + "=PATH)")
              .str();
    return nullptr;
  }
  int fd = -1;
  std::error_code error = fs::openFileForRead(path->second, fd);
  fs::file_status status;
  if (!error)
    error = fs::status(fd, status);
  if (!error && status.getSize() > 0)
    region = std::make_unique<fs::mapped_file_region>(
        fs::convertFDToNativeFile(fd), fs::mapped_file_region::readonly,
        status.getSize(), 0, error);
  if (fd >= 0) {
    fs::file_t file = fs::convertFDToNativeFile(fd);
    (void)fs::closeFile(file);
  }
  if (!error && region)
    return region.get();
  region.reset();
  why = "cannot be read from '" + path->second +
        "': " + (error ? error.message() : "the file is empty");
  return nullptr;
}

FailureOr<StringRef> WeightSource::bytes(BankOp bank) {
  if (auto place = places.find(bank); place != places.end()) {
    reached = place->second;
    expected->reach(reached);
  }
  // The numbers themselves. A splat has one element's bytes; spell it out.
  if (auto dense = bank.getRecipe()
                       ? dyn_cast<DenseElementsAttr>(*bank.getRecipe())
                       : DenseElementsAttr()) {
    std::string &copy = inlined[dense.getAsOpaquePointer()];
    if (copy.empty() && dense.getElementType().isInteger(4)) {
      // Archives hold two to a byte, the first in the low half.
      copy.assign((dense.getNumElements() + 1) / 2, 0);
      int64_t i = 0;
      for (const APInt &value : dense.getValues<APInt>()) {
        copy[i / 2] |= value.getZExtValue() << (i % 2 ? 4 : 0);
        ++i;
      }
    }
    if (copy.empty())
      for (int64_t n = dense.isSplat() ? dense.getNumElements() : 1; n > 0; --n)
        copy.append(dense.getRawData().begin(), dense.getRawData().end());
    return StringRef(copy);
  }
  if (bank.getRecipe()) {
    auto found = derived.find(bank.getSymName());
    if (found != derived.end())
      return StringRef(found->second);
    if (!making.insert(bank).second)
      return emitError(bank.getLoc(), "'")
             << bank.getSymName() << "' is made of itself";
    std::string made;
    LogicalResult done = makeBank(bank, *this, made);
    making.erase(bank);
    if (failed(done))
      return failure();
    return StringRef(derived[bank.getSymName()] = std::move(made));
  }
  if (!bank.getArchive() || !bank.getOffset())
    return bank.emitOpError("does not lie in an archive at an offset");
  StringRef name = *bank.getArchive();
  std::string why;
  fs::mapped_file_region *region = map(name, why);
  if (!region)
    return bank.emitOpError(why);
  uint64_t offset = *bank.getOffset(), length = *bank.getLength();
  if (offset > region->size() || length > region->size() - offset)
    return bank.emitOpError("needs ")
           << length << " bytes from offset " << offset << " of archive '"
           << name << "', which has " << region->size();
  return StringRef(region->const_data() + offset, length);
}

void WeightSource::release(StringRef range) {
  for (auto &entry : derived)
    if (range.begin() >= entry.second.data() &&
        range.begin() < entry.second.data() + entry.second.size()) {
      derived.erase(entry.first());
      return;
    }
  // Only what the file can give back: never copies of numbers.
  bool isMapped = llvm::any_of(mapped, [&](auto &entry) {
    return entry.second && range.begin() >= entry.second->const_data() &&
           range.end() <= entry.second->const_data() + entry.second->size();
  });
  if (!isMapped)
    return;
  withPages(range, [](void *pages, size_t count) {
    (void)madvise(pages, count, MADV_DONTNEED);
  });
}
