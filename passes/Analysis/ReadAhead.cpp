#include "passes/Analysis/ReadAhead.h"

#include "dialects/MoE/MoEOps.h"
#include "passes/Analysis/WeightSource.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace moe;

/// Enough for a disk to be busy, little beside what else is in memory.
static constexpr uint64_t kWindow = 64 << 20;

/// Calls `slice` for slices of archives that a recipe reads, however deep, and
/// `factors` for matrices that it factors. Banks that are `seen` are not looked
/// into again: recipes may share them, and those that name themselves are
/// refused where they are executed.
static void visit(Operation *at, Attribute recipe, WeightSource &source,
                  llvm::function_ref<void(BankOp, SliceAttr)> slice,
                  llvm::function_ref<void(Operation *, LowRankAttr)> factors,
                  llvm::SmallPtrSetImpl<Operation *> &seen) {
  recipe.walk([&](Attribute part) {
    if (auto lowRank = dyn_cast<LowRankAttr>(part))
      factors(at, lowRank);
    auto own = dyn_cast<SliceAttr>(part);
    BankOp bank = own ? source.lookup(at, own.getBank()) : BankOp();
    if (!bank)
      return;
    if (!bank.getRecipe())
      slice(bank, own);
    else if (!isa<ElementsAttr>(*bank.getRecipe()) && seen.insert(bank).second)
      visit(bank, *bank.getRecipe(), source, slice, factors, seen);
  });
}

static Attribute recipeOf(Operation *at, Attribute recipe) {
  if (recipe)
    return recipe;
  auto bank = cast<BankOp>(at);
  if (!bank.getRecipe())
    return SliceAttr::get(FlatSymbolRefAttr::get(bank.getSymNameAttr()));
  return isa<ElementsAttr>(*bank.getRecipe()) ? Attribute() : *bank.getRecipe();
}

uint64_t ReadAhead::request(const Item &item) {
  uint64_t size = 0;
  llvm::SmallPtrSet<Operation *, 8> banks;
  if (Attribute recipe = recipeOf(item.at, item.recipe))
    visit(
        item.at, recipe, source,
        [&](BankOp bank, SliceAttr slice) {
          size += source.willNeed(bank, slice, kWindow);
        },
        [](Operation *, LowRankAttr) {}, banks);
  return size;
}

LowRankAttr moe::wholeOf(LowRankAttr recipe) {
  MLIRContext *context = recipe.getContext();
  return LowRankAttr::get(context, recipe.getSource(), recipe.getRank(),
                          StringAttr::get(context, "left"),
                          recipe.getMoments());
}

void ReadAhead::reach(size_t i) {
  for (; at < std::min(i + 1, sizes.size()); ++at)
    pending -= sizes[at];
  at = std::max(at, i + 1);
  // What is worked on now is too late to be asked for.
  if (sizes.size() < at)
    sizes.resize(at);
  while (sizes.size() < items.size() && pending < kWindow) {
    sizes.push_back(request(items[sizes.size()]));
    pending += sizes.back();
  }
}

std::vector<ReadAhead::Factors> ReadAhead::factorsFrom(size_t i, size_t count) {
  std::vector<Factors> found;
  llvm::SmallSetVector<Attribute, 8> seen;
  llvm::SmallPtrSet<Operation *, 8> banks;
  for (; i < items.size() && found.size() < count; ++i)
    if (Attribute recipe = recipeOf(items[i].at, items[i].recipe))
      visit(
          items[i].at, recipe, source, [](BankOp, SliceAttr) {},
          [&](Operation *at, LowRankAttr recipe) {
            LowRankAttr whole = wholeOf(recipe);
            if (found.size() < count && seen.insert(whole))
              found.push_back({at, whole});
          },
          banks);
  return found;
}
