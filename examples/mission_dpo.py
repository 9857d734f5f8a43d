"""PAI-QuickStart's DPO example through training: the same script with `quickalign` in place of `pai`.

It needs nothing configured. The first run starts a server in the background and fetches the model's weights.
"""

# ruff: noqa: I001, F401, T201 - the script is as it was; deploying, which needs random_str, comes with a later part
from quickalign.session import get_default_session
from quickalign.common.utils import random_str
from quickalign.model import ModelTrainingRecipe

sess = get_default_session()
# 获取训练脚本
training_recipe = ModelTrainingRecipe(
    model_name="qwen2-0.5b-instruct",
    model_provider="pai",
    method="LoRA_LLM",
    hyperparameters={
        # 通过DPO训练
        "training_strategy": "dpo",
    },
)
# 公共读测试训练数据
train_data_uri = f"oss://pai-quickstart-{sess.region_id}/huggingface/datasets/safe_rlhf/sampled_train.json"
# 提交作业,并等待训练完成
training_recipe.train(
    inputs={
        "train": train_data_uri,
    }
)
print(training_recipe.model_data())
