#ifndef MOE_PASSES_ANALYSIS_WEIGHTSOURCE_H
#define MOE_PASSES_ANALYSIS_WEIGHTSOURCE_H

#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/FileSystem.h"
#include <map>
#include <memory>

namespace moe {
class BankOp;
class ReadAhead;
class SliceAttr;
struct RecipeMemo;

/// The bytes behind `moe.bank` symbols: archives by logical name, mapped read
/// only when they are first needed. Views die with the object. Not thread-safe.
class WeightSource {
public:
  WeightSource();
  ~WeightSource();

  /// Binds archive `name` to the file at `path`; a later call wins.
  void bind(llvm::StringRef name, llvm::StringRef path) {
    paths[name] = path.str();
  }

  /// The bytes of a bank that lies in an archive at an offset, or whose recipe
  /// is numbers or can be executed (made in memory, until `release`).
  /// Fails with a diagnostic on the bank when the archive is not bound, cannot
  /// be mapped, or is too short.
  mlir::FailureOr<llvm::StringRef> bytes(BankOp bank);

  /// Drops what has been made. Banks are known by their names, so this stands
  /// between modules, and between steps that replace banks of one.
  void forget();

  /// Gives the memory of mapped pages inside `range` back to the system; they
  /// are read again from the file when they are needed again.
  void release(llvm::StringRef range);

  /// Tells the banks that `bytes` will be asked for, in this order: what they
  /// are made of is fetched from the disk, and factored, before its turn.
  void expect(llvm::ArrayRef<BankOp> banks);
  ReadAhead *getExpected() { return expected.get(); }
  size_t getReached() const { return reached; }

  /// Asks the system to fetch a slice of an archive, no more than `most` bytes;
  /// tells how many.
  uint64_t willNeed(BankOp bank, SliceAttr slice, uint64_t most);

  /// True where `bytes` has made the bank and keeps it.
  bool isMade(BankOp bank) const;

  /// The bank that `name` means at `at`, or null. Looking up symbols one by one
  /// takes as long as there are symbols, so whoever reads many and changes none
  /// lends a table.
  BankOp lookup(mlir::Operation *at, mlir::FlatSymbolRefAttr name) const;
  void useSymbols(const mlir::SymbolTable *table) { symbols = table; }

  /// For those who execute recipes.
  RecipeMemo &memo() { return *made; }

private:
  /// The file of an archive; null, and the reason, where there is none.
  llvm::sys::fs::mapped_file_region *map(llvm::StringRef name,
                                         std::string &why);

  const mlir::SymbolTable *symbols = nullptr;
  std::unique_ptr<ReadAhead> expected;
  llvm::DenseMap<mlir::Operation *, size_t> places; ///< in `expected`
  size_t reached = 0;
  std::unique_ptr<RecipeMemo> made;
  llvm::StringMap<std::string> paths;
  llvm::StringMap<std::unique_ptr<llvm::sys::fs::mapped_file_region>> mapped;
  std::map<const void *, std::string> inlined; ///< by the numbers' attribute
  llvm::StringMap<std::string> derived;
  llvm::SmallPtrSet<mlir::Operation *, 8> making; ///< banks, just now
};

} // namespace moe

#endif // MOE_PASSES_ANALYSIS_WEIGHTSOURCE_H
