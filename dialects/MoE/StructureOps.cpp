#include "dialects/MoE/MoEOps.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace moe;

namespace {
/// What `moe.state` reads and writes.
struct SessionState : SideEffects::Resource::Base<SessionState> {
  StringRef getName() final { return "moe session state"; }
};
} // namespace

LogicalResult StateOp::verify() {
  // state_c1
  if (static_cast<bool>(getValue()) == static_cast<bool>(getCurrent()))
    return emitOpError("needs a value to write or a result to read into");
  // state_c2
  if (!getInit())
    return success();
  if (!getCurrent())
    return emitOpError("writes, so it has no init");
  auto type = cast<RankedTensorType>(getCurrent().getType());
  auto init = cast<ShapedType>(getInit()->getShapedType());
  if (init.getElementType() != type.getElementType() ||
      failed(verifyCompatibleShape(init, type)))
    return emitOpError("starts as ") << init << " but is " << type;
  return success();
}

void StateOp::getEffects(
    SmallVectorImpl<MemoryEffects::EffectInstance> &effects) {
  if (getCurrent())
    effects.emplace_back(MemoryEffects::Read::get(), SessionState::get());
  else
    effects.emplace_back(MemoryEffects::Write::get(), SessionState::get());
}

LogicalResult LayerOp::verifyRegions() {
  // layer_c1 is said by the traits.
  // layer_c2
  if (getBypass().size() > getNumResults())
    return emitOpError("has ") << getBypass().size() << " bypassing values for "
                               << getNumResults() << " results";
  for (auto [bypass, result] : llvm::zip(getBypass(), getResults()))
    if (bypass.getType() != result.getType())
      return emitOpError("bypasses ")
             << result.getType() << " by " << bypass.getType();
  return success();
}

void LayerOp::getSuccessorRegions(RegionBranchPoint point,
                                  SmallVectorImpl<RegionSuccessor> &regions) {
  if (point.isParent())
    regions.emplace_back(&getBody());
  else
    regions.push_back(RegionSuccessor(getOperation(), getResults()));
}

void LayerOp::getEntrySuccessorRegions(
    ArrayRef<Attribute>, SmallVectorImpl<RegionSuccessor> &regions) {
  regions.emplace_back(&getBody());
}
