"""What real projects log, and by which metric their users judge a run."""

from __future__ import annotations

from typing import NamedTuple


class MetricSet(NamedTuple):
    """What one kind of run logs: after a "~", only at evaluations, more rarely than the rest; after a "0", zeros."""

    source: str
    expected: str
    mode: str
    logged: str

    def __str__(self) -> str:
        return self.source


def _set(source: str, expected: str, mode: str, logged: str) -> MetricSet:
    return MetricSet(source, expected, mode, " ".join(logged.split()))


SETS = (
    # detection
    _set(
        "Ultralytics detect results.csv",
        "metrics/mAP50-95(B)",
        "max",
        """time train/box_loss train/cls_loss train/dfl_loss metrics/precision(B) metrics/recall(B) metrics/mAP50(B)
        metrics/mAP50-95(B) val/box_loss val/cls_loss val/dfl_loss lr/pg0 lr/pg1 lr/pg2""",
    ),
    _set(
        "Ultralytics segment results.csv",
        "metrics/mAP50-95(B)",
        "max",
        """time train/box_loss train/seg_loss train/cls_loss train/dfl_loss metrics/precision(B) metrics/recall(B)
        metrics/mAP50(B) metrics/mAP50-95(B) metrics/precision(M) metrics/recall(M) metrics/mAP50(M)
        metrics/mAP50-95(M) val/box_loss val/seg_loss val/cls_loss val/dfl_loss lr/pg0""",
    ),
    _set(
        "Ultralytics classify results.csv",
        "val/loss",
        "min",
        "time train/loss metrics/accuracy_top1 metrics/accuracy_top5 val/loss lr/pg0 lr/pg1",
    ),
    _set(
        "YOLOv5 results.csv",
        "metrics/mAP_0.5:0.95",
        "max",
        """train/box_loss train/obj_loss train/cls_loss metrics/precision metrics/recall metrics/mAP_0.5
        metrics/mAP_0.5:0.95 val/box_loss val/obj_loss val/cls_loss x/lr0 x/lr1 x/lr2""",
    ),
    _set(
        "detectron2 Faster R-CNN metrics.json",
        "bbox/AP",
        "max",
        """data_time eta_seconds fast_rcnn/cls_accuracy fast_rcnn/false_negative fast_rcnn/fg_cls_accuracy iteration
        loss_box_reg loss_cls loss_rpn_cls loss_rpn_loc lr rank_data_time roi_head/num_bg_samples
        roi_head/num_fg_samples rpn/num_neg_anchors rpn/num_pos_anchors time total_loss ~bbox/AP ~bbox/AP50 ~bbox/AP75
        ~bbox/APl ~bbox/APm ~bbox/APs ~bbox/AP-person ~bbox/AP-car""",
    ),
    _set(
        "detectron2 Mask R-CNN metrics.json",
        "bbox/AP",
        "max",
        """data_time eta_seconds loss_box_reg loss_cls loss_mask loss_rpn_cls loss_rpn_loc lr mask_rcnn/accuracy
        mask_rcnn/false_negative time total_loss ~bbox/AP ~bbox/AP50 ~segm/AP ~segm/AP50 ~segm/APl""",
    ),
    _set("detectron2 without evaluation", "total_loss", "min", "data_time eta_seconds loss_cls lr time total_loss"),
    _set(
        "detectron2 with a validation loss of its own",
        "validation_loss",
        "min",
        "data_time loss_cls loss_box_reg lr time total_loss ~validation_loss",
    ),
    _set(
        "MMDetection 3 scalars.json",
        "coco/bbox_mAP",
        "max",
        """lr data_time loss loss_rpn_cls loss_rpn_bbox loss_cls acc loss_bbox time memory ~coco/bbox_mAP
        ~coco/bbox_mAP_50 ~coco/bbox_mAP_75 ~coco/bbox_mAP_s ~coco/bbox_mAP_m ~coco/bbox_mAP_l""",
    ),
    _set(
        "MMDetection 2 log.json",
        "bbox_mAP",
        "max",
        "memory data_time loss_cls loss_bbox loss time ~bbox_mAP ~bbox_mAP_50 ~bbox_mAP_75 ~bbox_mAP_s",
    ),
    _set(
        "MMDetection on VOC",
        "pascal_voc/mAP",
        "max",
        "lr data_time loss loss_cls time ~pascal_voc/mAP ~pascal_voc/AP50",
    ),
    _set(
        "MMSegmentation scalars.json",
        "mIoU",
        "max",
        "lr data_time loss decode.loss_ce decode.acc_seg aux.loss_ce time memory ~aAcc ~mIoU ~mAcc",
    ),
    _set(
        "MMPretrain scalars.json", "accuracy/top1", "max", "lr data_time loss time memory ~accuracy/top1 ~accuracy/top5"
    ),
    _set("MMPose scalars.json", "coco/AP", "max", "lr loss loss_kpt acc_pose time ~coco/AP ~coco/AP .5 ~coco/AR"),
    _set(
        "DETR log.txt",
        "test_coco_eval_bbox_0",
        "max",
        """train_lr train_class_error train_loss train_loss_ce train_loss_bbox train_loss_giou
        train_cardinality_error_unscaled test_class_error test_loss test_loss_ce test_loss_bbox test_loss_giou
        test_loss_ce_0 test_coco_eval_bbox_0 test_coco_eval_bbox_1 test_coco_eval_bbox_2 n_parameters""",
    ),
    _set(
        "DETR log.txt, the list as one column",
        "test_coco_eval_bbox",
        "max",
        "train_lr train_loss train_loss_bbox test_class_error test_loss test_loss_bbox test_coco_eval_bbox n_params",
    ),
    _set(
        "torchmetrics mAP in Lightning",
        "val_map",
        "max",
        "train_loss train_box_loss val_loss val_map val_map_50 val_map_75 val_map_small val_map_large val_mar_100",
    ),
    _set(
        "TF Object Detection API",
        "DetectionBoxes_Precision/mAP",
        "max",
        """Loss/classification_loss Loss/localization_loss Loss/total_loss learning_rate
        ~DetectionBoxes_Precision/mAP ~DetectionBoxes_Precision/mAP@.50IOU ~DetectionBoxes_Recall/AR@1""",
    ),
    # image classification
    _set("DeiT log.txt", "test_loss", "min", "train_lr train_loss test_loss test_acc1 test_acc5 n_parameters"),
    _set(
        "MAE finetuning log.txt", "test_loss", "min", "train_lr train_loss test_loss test_acc1 test_acc5 n_parameters"
    ),
    _set("MAE pretraining log.txt", "train_loss", "min", "train_lr train_loss"),
    _set("timm summary.csv", "eval_loss", "min", "train_loss eval_loss eval_top1 eval_top5 lr"),
    _set("DINO log.txt", "train_loss", "min", "train_loss train_lr train_wd"),
    _set("CIFAR log.txt", "Valid Loss", "min", "Learning_Rate Train_Loss Valid|Loss Train_Acc. Valid_Acc."),
    _set("torchvision references", "test_loss", "min", "lr img/s loss acc1 acc5 test_loss test_acc1 test_acc5"),
    _set("PyTorch ImageNet example", "val_acc1", "max", "train_loss train_acc1 val_acc1 val_acc5 best_acc1"),
    _set("Keras CSVLogger", "val_loss", "min", "accuracy loss val_accuracy val_loss"),
    _set("Keras CSVLogger without validation data", "loss", "min", "accuracy loss learning_rate"),
    _set("Keras segmentation", "val_loss", "min", "dice_coef iou loss mean_io_u val_dice_coef val_iou val_loss lr"),
    _set("Keras segmentation_models", "val_loss", "min", "loss iou_score f1-score val_loss val_iou_score val_f1-score"),
    _set("Keras with two outputs", "val_loss", "min", "a_loss b_loss loss val_a_loss val_b_loss val_loss a_accuracy"),
    _set("Keras with counts", "val_loss", "min", "tp fp loss auc val_tp val_fp val_tn val_fn val_auc val_loss"),
    _set("Keras GAN", "val_fid", "min", "d_loss g_loss val_fid"),
    _set("fastai history.csv", "valid_loss", "min", "train_loss valid_loss accuracy error_rate time"),
    _set("skorch history.json", "valid_loss", "min", "dur train_loss valid_acc valid_loss train_batch_count"),
    _set("Lightning CSV", "val_loss", "min", "train_loss_step train_loss_epoch val_loss val_acc lr-Adam test_loss"),
    _set("Lightning CLI", "val/loss", "min", "train/loss train/acc val/loss val/acc val/acc_best lr-Adam/pg1"),
    # segmentation, depth, images
    _set("nnU-Net", "val_losses", "min", "train_losses val_losses mean_fg_dice ema_fg_dice lrs"),
    _set("MONAI", "val_mean_dice", "max", "train_loss val_mean_dice"),
    _set("depth estimation", "val_abs_rel", "min", "train_loss val_abs_rel val_a1 val_time"),
    _set("BasicSR", "metrics/psnr", "max", "losses/l_pix lrs/0 ~metrics/psnr ~metrics/ssim"),
    _set("NeRF", "val/psnr", "max", "train/loss train/psnr val/psnr val/ssim val/lpips rays_per_sec"),
    _set(
        "StyleGAN3 stats.jsonl", "Metrics/fid50k_full", "min", "Loss/G/loss Loss/D/loss Timing/sec ~Metrics/fid50k_full"
    ),
    _set("diffusion", "val/loss", "min", "train/loss train/loss_simple val/loss val/loss_simple val/loss_vlb"),
    _set("VAE", "val_loss", "min", "loss recon_loss kl_loss val_loss val_recon_loss val_kl_loss"),
    _set("VAE with a total", "val_total_loss", "min", "total_loss kl_loss val_kl_loss val_recon_loss val_total_loss"),
    # language
    _set("nanoGPT in W&B", "val/loss", "min", "iter train/loss val/loss lr mfu"),
    _set("nanoGPT text", "val loss", "min", "train|loss val|loss"),
    _set("nanochat", "val/bpb", "min", "train/loss train/lrm train/dt train/tok_per_sec train/mfu val/bpb"),
    _set("llm.c main.log", "test_loss", "min", "test_loss train_loss learning_rate norm"),
    _set(
        "fairseq language model",
        "valid_loss",
        "min",
        "train_loss train_ppl train_wps train_ups train_wall valid_loss valid_ppl valid_wps valid_best_loss",
    ),
    _set(
        "fairseq translation",
        "valid_bleu",
        "max",
        "train_loss train_nll_loss train_wps valid_loss valid_nll_loss valid_ppl valid_bleu valid_best_bleu",
    ),
    _set(
        "fairseq wav2vec CTC",
        "valid_wer",
        "min",
        "train_loss train_wps valid_loss valid_nll_loss valid_uer valid_wer valid_raw_wer valid_best_wer",
    ),
    _set(
        "HF fine-tuning",
        "eval_loss",
        "min",
        "loss grad_norm learning_rate eval_loss eval_runtime eval_samples_per_second eval_steps_per_second",
    ),
    _set(
        "HF GLUE",
        "eval_loss",
        "min",
        "loss learning_rate eval_loss eval_accuracy eval_f1 eval_combined_score eval_runtime eval_samples_per_second",
    ),
    _set(
        "HF summarization",
        "eval_rougeL",
        "max",
        "loss learning_rate eval_loss eval_rouge1 eval_rouge2 eval_rougeL eval_rougeLsum eval_gen_len eval_runtime",
    ),
    _set("HF translation", "eval_bleu", "max", "loss learning_rate eval_loss eval_bleu eval_gen_len eval_runtime"),
    _set(
        "HF speech recognition",
        "eval_wer",
        "min",
        "loss learning_rate eval_loss eval_runtime eval_samples_per_second eval_steps_per_second eval_wer eval_cer",
    ),
    _set("HF question answering", "eval_f1", "max", "loss learning_rate eval_exact_match eval_f1 eval_runtime"),
    _set(
        "HF token classification", "eval_loss", "min", "loss eval_loss eval_precision eval_recall eval_f1 eval_runtime"
    ),
    _set(
        "TRL SFT", "eval_loss", "min", "loss mean_token_accuracy num_tokens eval_loss eval_mean_token_accuracy entropy"
    ),
    _set(
        "TRL DPO",
        "eval_loss",
        "min",
        "loss rewards/chosen rewards/margins eval_loss eval_rewards/accuracies eval_rewards/margins eval_logps/chosen",
    ),
    _set("TRL GRPO", "reward", "max", "loss reward reward_std kl completion_length rewards/format/mean step_time"),
    _set("OpenNMT", "valid/ppl", "min", "progress/ppl progress/tgtper valid/ppl valid/acc progress/lr"),
    _set(
        "Megatron-LM", "lm loss validation", "min", "lm|loss lm|loss|validation learning-rate grad-norm iteration-time"
    ),
    _set("flair loss.tsv", "DEV_LOSS", "min", "LEARNING_RATE TRAIN_LOSS DEV_LOSS DEV_PRECISION DEV_RECALL DEV_F1"),
    _set("spaCy", "score", "max", "loss_ner score ents_f ents_p ents_r"),
    # speech
    _set(
        "ESPnet speech recognition",
        "valid/wer",
        "min",
        """train/loss train/loss_att train/loss_ctc train/acc train/time valid/loss valid/loss_att valid/loss_ctc
        valid/acc valid/cer valid/wer valid/cer_ctc valid/time""",
    ),
    _set(
        "ESPnet without decoding",
        "valid/loss",
        "min",
        "train/loss train/acc 0valid/cer 0valid/wer valid/loss valid/loss_ctc valid/acc train/iter_time",
    ),
    _set("NeMo speech recognition", "val_wer", "min", "train_loss training_batch_wer val_loss val_wer global_step"),
    _set("SpeechBrain train_log", "valid WER", "min", "train|loss valid|loss valid|CER valid|WER lr"),
    _set("Coqui TTS", "eval/avg_loss", "min", "train/avg_loss eval/avg_loss eval/avg_loss_mel eval/avg_loader_time"),
    # reinforcement learning
    _set(
        "stable-baselines3 progress.csv",
        "rollout/ep_rew_mean",
        "max",
        """rollout/ep_len_mean rollout/ep_rew_mean time/fps time/iterations time/time_elapsed time/total_timesteps
        train/approx_kl train/clip_fraction train/entropy_loss train/explained_variance train/loss
        train/policy_gradient_loss train/value_loss train/n_updates""",
    ),
    _set(
        "stable-baselines3 with EvalCallback",
        "eval/mean_reward",
        "max",
        """rollout/ep_len_mean rollout/ep_rew_mean time/fps train/loss ~eval/mean_ep_length ~eval/mean_reward
        train/value_loss""",
    ),
    _set(
        "stable-baselines3 DQN",
        "rollout/ep_rew_mean",
        "max",
        "rollout/ep_len_mean rollout/ep_rew_mean rollout/exploration_rate rollout/success_rate time/fps train/loss",
    ),
    _set(
        "OpenAI baselines progress.csv",
        "eprewmean",
        "max",
        "eplenmean eprewmean explained_variance fps nupdates policy_entropy policy_loss total_timesteps value_loss",
    ),
    _set(
        "Ray 2 RLlib result.json",
        "episode_reward_mean",
        "max",
        """episode_reward_max episode_reward_min episode_reward_mean episode_len_mean episodes_this_iter
        num_healthy_workers timesteps_total time_this_iter_s info/learner/default_policy/learner_stats/vf_loss
        info/learner/default_policy/learner_stats/total_loss perf/cpu_util_percent""",
    ),
    _set(
        "RLlib new stack",
        "env_runners/episode_return_mean",
        "max",
        """env_runners/episode_return_max env_runners/episode_return_mean env_runners/episode_len_mean
        env_runners/num_episodes learners/default_policy/total_loss learners/default_policy/vf_loss time_total_s""",
    ),
    _set(
        "CleanRL",
        "charts/episodic_return",
        "max",
        "charts/episodic_return charts/episodic_length charts/SPS losses/value_loss losses/entropy",
    ),
    _set(
        "Spinning Up progress.txt",
        "AverageTestEpRet",
        "max",
        "AverageEpRet StdEpRet MaxEpRet MinEpRet AverageTestEpRet StdTestEpRet EpLen LossPi LossQ Time",
    ),
    _set(
        "Spinning Up PPO",
        "AverageEpRet",
        "max",
        "AverageEpRet StdEpRet MaxEpRet MinEpRet EpLen AverageVVals LossPi LossV DeltaLossV Entropy KL ClipFrac Time",
    ),
    _set(
        "rsl_rl",
        "Train/mean_reward",
        "max",
        "Loss/value_function Loss/surrogate Policy/mean_noise_std Perf/total_fps Train/mean_reward "
        "Train/mean_episode_length",
    ),
    _set("tianshou", "test/reward", "max", "train/reward train/length test/reward test/reward_std loss/clip loss/vf"),
    _set("d3rlpy", "environment reward", "max", "loss environment|reward"),
    _set("CORL", "eval/normalized_score", "max", "train/critic_loss train/actor_loss ~eval/normalized_score"),
    # trees and tables
    _set("CatBoost test_error.tsv", "test/Logloss", "min", "learn/Logloss learn/AUC test/Logloss test/AUC passed_time"),
    _set("XGBoost evals_result", "validation_1-logloss", "min", "validation_0-logloss validation_1-logloss"),
    _set("XGBoost train and eval", "eval-rmse", "min", "train-rmse eval-rmse"),
    _set("XGBoost with AUC", "test-auc", "max", "train-auc test-auc"),
    _set(
        "LightGBM",
        "valid_0/binary_logloss",
        "min",
        "training/binary_logloss training/auc valid_0/auc valid_0/binary_logloss",
    ),
    _set("LightGBM regression", "valid_1/l2", "min", "training/l2 valid_1/l2 valid_1/l1"),
    _set("Kaggle regression CSV", "val_rmse", "min", "train_rmse val_rmse lr time"),
    _set("Kaggle folds CSV", "valid_loss", "min", "fold train_loss valid_loss valid_score elapsed_time"),
    _set("graph networks", "val_acc", "max", "train_acc val_acc test_acc train_loss"),
    _set("recommender", "valid_ndcg@10", "max", "train_loss valid_ndcg@10 valid_recall@20 valid_hit@10 test_ndcg@10"),
    _set("time series", "val_smape", "min", "train_loss val_smape epoch_time"),
    _set("plain text of the field", "Val Loss", "min", "Train|Loss Val|Loss Time"),
    _set("TensorBoard by data", "Loss/test", "min", "Loss/train Loss/test Accuracy/train Accuracy/test"),
    _set("TensorBoard, one heading", "Loss/validation", "min", "Loss/training Loss/validation IoU/validation lr"),
    # data that are named by abbreviations, or only those of the training by name
    _set("columns by hand: tr and vl", "vl_loss", "min", "tr_loss vl_loss tr_acc vl_acc"),
    _set("columns by hand: tr and te, at the end", "acc_te", "max", "loss_tr acc_tr acc_te"),
    _set("columns by hand: cross-validation", "cv_loss", "min", "train_loss cv_loss"),
    _set("columns by hand: trn and tst", "tst_loss", "min", "trn_loss trn_acc tst_loss tst_acc"),
    _set("unmarked score beside a loss of the training", "score", "max", "train_loss score grad_norm lr"),
    _set("tracking beside a loss of the training", "MOTA", "max", "train_loss MOTA IDF1"),
    _set("accuracy of the training, all marked", "train_loss", "min", "train_loss train_acc lr"),
    _set("Keras without validation", "loss", "min", "accuracy loss"),
)
