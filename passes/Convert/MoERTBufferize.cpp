#include "passes/Convert/MoERTBufferize.h"

#include "dialects/MoE/MoEOps.h"
#include "dialects/MoERT/MoERTOps.h"
#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/Dialect/Bufferization/IR/DstBufferizableOpInterfaceImpl.h"

using namespace mlir;
using namespace mlir::bufferization;
using namespace moe;

namespace {
/// All of moert's ops with destinations: the same op on memrefs, without
/// results. Destinations are written, never read.
template <typename OpTy>
struct Destinations
    : DstBufferizableOpInterfaceExternalModel<Destinations<OpTy>, OpTy> {
  bool bufferizesToMemoryRead(Operation *op, OpOperand &operand,
                              const AnalysisState &) const {
    return !cast<DestinationStyleOpInterface>(op).isDpsInit(&operand);
  }
  bool bufferizesToMemoryWrite(Operation *op, OpOperand &operand,
                               const AnalysisState &) const {
    return cast<DestinationStyleOpInterface>(op).isDpsInit(&operand);
  }
  /// Experts may go on with a sum in their destination: what an element was is
  /// read before it is written.
  bool isNotConflicting(Operation *op, OpOperand *read, OpOperand *write,
                        const AnalysisState &) const {
    auto ffn = dyn_cast<moert::ExpertFfnOp>(op);
    return ffn && read->getOwner() == op && write->getOwner() == op &&
           read->get() == ffn.getResidual() &&
           cast<DestinationStyleOpInterface>(op).isDpsInit(write) &&
           read->get() == write->get();
  }
  LogicalResult bufferize(Operation *op, RewriterBase &rewriter,
                          const BufferizationOptions &options,
                          BufferizationState &state) const {
    SmallVector<Value> operands, results;
    for (OpOperand &operand : op->getOpOperands()) {
      Value value = operand.get();
      if (isa<TensorType>(value.getType())) {
        FailureOr<Value> buffer = getBuffer(rewriter, value, options, state);
        if (failed(buffer))
          return failure();
        value = *buffer;
      }
      operands.push_back(value);
      if (cast<DestinationStyleOpInterface>(op).isDpsInit(&operand))
        results.push_back(value);
    }
    OperationState onMemRefs(op->getLoc(), op->getName());
    onMemRefs.addOperands(operands);
    onMemRefs.addAttributes(op->getAttrs());
    rewriter.setInsertionPoint(op);
    rewriter.create(onMemRefs);
    replaceOpWithBufferizedValues(rewriter, op, results);
    return success();
  }
};

/// moe.weight: a constant in memory that nobody may write.
struct Weight : BufferizableOpInterface::ExternalModel<Weight, WeightOp> {
  LogicalResult bufferize(Operation *op, RewriterBase &rewriter,
                          const BufferizationOptions &,
                          BufferizationState &) const {
    auto weight = cast<WeightOp>(op);
    auto tensor = cast<RankedTensorType>(weight.getType());
    auto type = MemRefType::get(tensor.getShape(), tensor.getElementType());
    replaceOpWithNewBufferizedOp<moert::WeightRefOp>(rewriter, op, type,
                                                     weight.getBankAttr());
    return success();
  }
  bool isWritable(Operation *, Value, const AnalysisState &) const {
    return false;
  }
};

/// moert.observe reads its values.
struct Observe
    : BufferizableOpInterface::ExternalModel<Observe, moert::ObserveOp> {
  bool bufferizesToMemoryRead(Operation *, OpOperand &,
                              const AnalysisState &) const {
    return true;
  }
  bool bufferizesToMemoryWrite(Operation *, OpOperand &,
                               const AnalysisState &) const {
    return false;
  }
  AliasingValueList getAliasingValues(Operation *, OpOperand &,
                                      const AnalysisState &) const {
    return {};
  }
  LogicalResult bufferize(Operation *op, RewriterBase &rewriter,
                          const BufferizationOptions &options,
                          BufferizationState &state) const {
    auto observe = cast<moert::ObserveOp>(op);
    SmallVector<Value> values;
    for (Value value : observe.getValues()) {
      FailureOr<Value> buffer = getBuffer(rewriter, value, options, state);
      if (failed(buffer))
        return failure();
      values.push_back(*buffer);
    }
    rewriter.modifyOpInPlace(
        op, [&] { observe.getValuesMutable().assign(values); });
    return success();
  }
};
} // namespace

void moe::registerBufferizableOpInterfaceExternalModels(
    DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, MoEDialect *) {
    WeightOp::attachInterface<Weight>(*context);
  });
  registry.addExtension(+[](MLIRContext *context, moert::MoERTDialect *) {
    moert::ObserveOp::attachInterface<Observe>(*context);
    moert::EmbedOp::attachInterface<Destinations<moert::EmbedOp>>(*context);
    moert::GemmOp::attachInterface<Destinations<moert::GemmOp>>(*context);
    moert::RmsNormOp::attachInterface<Destinations<moert::RmsNormOp>>(*context);
    moert::LayerNormOp::attachInterface<Destinations<moert::LayerNormOp>>(
        *context);
    moert::RopeTableOp::attachInterface<Destinations<moert::RopeTableOp>>(
        *context);
    moert::RopeOp::attachInterface<Destinations<moert::RopeOp>>(*context);
    moert::KvAppendOp::attachInterface<Destinations<moert::KvAppendOp>>(
        *context);
    moert::AttentionOp::attachInterface<Destinations<moert::AttentionOp>>(
        *context);
    moert::RouteOp::attachInterface<Destinations<moert::RouteOp>>(*context);
    moert::ExpertFfnOp::attachInterface<Destinations<moert::ExpertFfnOp>>(
        *context);
  });
}
